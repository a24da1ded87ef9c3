//! The server's certificate: loaded from PEM files, replaced while connections run, when asked to and when they change.
//!
//! TLS 1.2 and later, ring. **Invariant:** a reload that fails leaves the certificate in use as it is.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate in use.
pub struct ServerTls {
    config: ArcSwap<ServerConfig>,
    files: Mutex<Files>,
}

/// Where the certificate in use came from, and what was there when it was read last.
struct Files {
    certificate: PathBuf,
    private_key: PathBuf,
    seen: Option<Seen>,
}

/// Which files they were: device, inode, length, time of the last change; of the certificate and of its key.
type Seen = [(u64, u64, u64, i64, i64); 2];

/// Why a certificate cannot be used. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// The file is not PEM, or holds nothing of the kind.
    #[error("{0} holds no usable PEM: {1}")]
    Pem(PathBuf, #[source] pem::Error),
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("certificate {0} and its key cannot be used: {1}")]
    Unusable(PathBuf, #[source] rustls::Error),
}

impl ServerTls {
    /// Reads both files. Blocks on the disk; meant for start and reload.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn load(certificate: &Path, private_key: &Path) -> Result<ServerTls, TlsError> {
        // Looked at before it is read, so that a change in between is found at the next look.
        let seen = seen(certificate, private_key);
        let config = ArcSwap::from_pointee(read(certificate, private_key)?);
        let files = Files { certificate: certificate.to_owned(), private_key: private_key.to_owned(), seen };
        Ok(ServerTls { config, files: Mutex::new(files) })
    }

    /// Reads the files again, or others; connections that come after it see the new certificate.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate in use stays.
    pub fn reload(&self, certificate: &Path, private_key: &Path) -> Result<(), TlsError> {
        let seen = seen(certificate, private_key);
        self.config.store(Arc::new(read(certificate, private_key)?));
        *self.files() = Files { certificate: certificate.to_owned(), private_key: private_key.to_owned(), seen };
        Ok(())
    }

    /// Reads the files again if they are others than before. True: there is a new certificate in use. Blocks on the disk.
    ///
    /// # Errors
    /// [`TlsError`], once for each change; the certificate in use stays. A pair that is half written is such an error, and
    /// its other half the next change.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let (certificate, private_key, before) = {
            let files = self.files();
            (files.certificate.clone(), files.private_key.clone(), files.seen)
        };
        let now = seen(&certificate, &private_key);
        if now.is_none() || now == before {
            return Ok(false);
        }
        self.files().seen = now;
        self.config.store(Arc::new(read(&certificate, &private_key)?));
        Ok(true)
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For one handshake.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

/// `None` while one of them is not there.
fn seen(certificate: &Path, private_key: &Path) -> Option<Seen> {
    let of = |file: Metadata| (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec());
    Some([of(std::fs::metadata(certificate).ok()?), of(std::fs::metadata(private_key).ok()?)])
}

fn read(certificate: &Path, private_key: &Path) -> Result<ServerConfig, TlsError> {
    let text = std::fs::read(certificate).map_err(|error| TlsError::Read(certificate.to_owned(), error))?;
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| TlsError::Pem(certificate.to_owned(), error))?;
    if chain.is_empty() {
        return Err(TlsError::Pem(certificate.to_owned(), pem::Error::NoItemsFound));
    }
    let text = std::fs::read(private_key).map_err(|error| TlsError::Read(private_key.to_owned(), error))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| TlsError::Pem(private_key.to_owned(), error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| TlsError::Unusable(certificate.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_bad_reload_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["x.test".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["x.test".to_owned()]).unwrap();
        let certificate = write(folder.path(), "c.pem", &made.cert.pem());
        let key = write(folder.path(), "k.pem", &made.signing_key.serialize_pem());
        let tls = ServerTls::load(&certificate, &key).unwrap();
        let before = tls.config.load_full();

        // what an operator gets wrong: no file, no PEM, the key of another certificate
        let spoilt = ["", "no pem", &other.signing_key.serialize_pem()];
        for text in spoilt {
            write(folder.path(), "k.pem", text);
            assert!(tls.reload(&certificate, &key).is_err(), "{text}");
            assert!(Arc::ptr_eq(&before, &tls.config.load_full()));
        }
        std::fs::remove_file(&key).unwrap();
        assert!(matches!(tls.reload(&certificate, &key), Err(TlsError::Read(..))));

        write(folder.path(), "k.pem", &other.signing_key.serialize_pem());
        write(folder.path(), "c.pem", &other.cert.pem());
        tls.reload(&certificate, &key).unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.config.load_full()));
    }

    #[test]
    fn a_change_is_found_by_looking() {
        let folder = tempfile::tempdir().unwrap();
        let made = || rcgen::generate_simple_self_signed(["x.test".to_owned()]).unwrap();
        let (first, second) = (made(), made());
        let certificate = write(folder.path(), "c.pem", &first.cert.pem());
        let key = write(folder.path(), "k.pem", &first.signing_key.serialize_pem());
        let tls = ServerTls::load(&certificate, &key).unwrap();
        let first_config = tls.config.load_full();
        assert!(!tls.reload_if_changed().unwrap(), "nothing has changed");

        // As renewals do it: a new file under the old name, one after the other.
        let renew = |name: &str, text: &str| {
            let new = write(folder.path(), "new", text);
            std::fs::rename(new, folder.path().join(name)).unwrap();
        };
        renew("c.pem", &second.cert.pem());
        assert!(tls.reload_if_changed().is_err(), "half a pair");
        assert!(Arc::ptr_eq(&first_config, &tls.config.load_full()), "the old one stays in use");
        assert!(!tls.reload_if_changed().unwrap(), "said once");
        renew("k.pem", &second.signing_key.serialize_pem());
        assert!(tls.reload_if_changed().unwrap());
        assert!(!Arc::ptr_eq(&first_config, &tls.config.load_full()));
        // A file that is away for a moment is no change.
        std::fs::remove_file(&key).unwrap();
        assert!(!tls.reload_if_changed().unwrap());
    }
}
