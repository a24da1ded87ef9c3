//! The admin socket: a Unix socket in the data folder, for the owner of that folder alone.
//!
//! **Invariant:** only the owner can connect (the folder is 0700, the socket 0600). A socket somebody answers on is never
//! removed: a second server says so instead of taking it over.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream as Probe;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::UnixListener;

use super::viewer::Viewer;
use super::{Actions, Options, api, http};

/// Name of the socket in the data folder.
pub const SOCKET_NAME: &str = "admin.sock";

/// The file of a socket, told by inode and birth from one that has taken its name since. It goes when this is dropped.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    born: (u64, i64, i64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|found| born(&found) == self.born);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the admin socket's file stays behind: {error}");
        }
    }
}

/// The admin socket, bound: a client that connects from now on waits for [`Socket::serve`].
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
}

impl Socket {
    /// Binds a socket at `path`, mode 0600. A socket left by a dead server is replaced. Called within a runtime.
    ///
    /// # Errors
    /// `AddrInUse` when a server answers there or the path is no socket; else what the system says.
    pub fn bind(path: &Path) -> io::Result<Socket> {
        bind(path).map(|(listener, file)| Socket { listener, file })
    }

    /// Serves the API until `shutdown` resolves.
    ///
    /// # Errors
    /// What the system says.
    pub async fn serve(
        self,
        actions: Arc<Actions>,
        options: &Options,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let options = Options { request_max: options.request_max + api::EVENT_WAIT_MAX, ..options.clone() };
        let router = api::router_telling(actions, Viewer::Operator, options.setup.clone());
        let served = http::serve(http::Unix(self.listener), router, &options, shutdown).await;
        drop(self.file);
        served
    }
}

/// [`Socket::bind`], then [`Socket::serve`].
///
/// # Errors
/// As both.
pub async fn serve(
    path: &Path,
    actions: Arc<Actions>,
    options: &Options,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    Socket::bind(path)?.serve(actions, options, shutdown).await
}

fn bind(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    remove_stale(path)?;
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    let born = born(&fs::symlink_metadata(path)?);
    Ok((listener, SocketFile { path: path.to_owned(), born }))
}

/// Inodes are given out again at once, so the time of the last change of the inode goes with it.
fn born(found: &fs::Metadata) -> (u64, i64, i64) {
    (found.ino(), found.ctime(), found.ctime_nsec())
}

fn remove_stale(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let in_use = |what: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("{} {what}", path.display()));
    if !found.file_type().is_socket() {
        return Err(in_use("is there and is no socket: move it away"));
    }
    match Probe::connect(path) {
        Ok(_) => Err(in_use("is answered by a running server: stop it first, or give this one another data_dir")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(result: io::Result<(UnixListener, SocketFile)>) -> Option<io::ErrorKind> {
        result.err().map(|error| error.kind())
    }

    #[tokio::test]
    async fn only_a_dead_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SOCKET_NAME);
        let alive = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(kind(bind(&path)), Some(io::ErrorKind::AddrInUse), "somebody answers");
        // a killed server leaves the file and nobody behind it
        let (listener, file) = alive;
        drop(listener);
        let replaced = bind(&path).unwrap();
        // the dead server's guard does not take away the file of the living one
        drop(file);
        assert!(path.exists());
        drop(replaced);
        assert!(!path.exists(), "a server that stops takes its socket with it");
        // no other file is ever removed
        fs::write(&path, "precious").unwrap();
        assert_eq!(kind(bind(&path)), Some(io::ErrorKind::AddrInUse));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
