//! The built-in catch-all inbox: our own session code taking every mail into a folder that people can read.
//!
//! Each mail is two files: `<name>.eml`, exactly the octets received, and `<name>.toml`, its envelope. **Invariant:** a
//! mail is listed when it is whole: `.toml` first, then `.eml`, each written aside, fsynced and renamed, then the
//! folder fsynced, then 250.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::DuplexStream;
use tokio::sync::watch;

use crate::listener::conn::converse;
use crate::listener::{self, Backend, BoxFuture, LoginOutcome, Rules, Shared, Submission, TlsMode};
use crate::settings::{OrgName, Submitter};
use crate::smtp::data::BareNewlines;
use crate::smtp::sasl::Credentials;
use crate::smtp::{Reply, ReversePath, session};

mod disk;
mod entry;

pub use entry::{Entry, EntryId, NotAnId, Stored};

/// As many mails as a person can look through while trying things out.
pub const MESSAGES_MAX: usize = 1000;
/// Octets between the two ends of a connection: what one read takes.
const DUPLEX_BYTES: usize = 64 * 1024;

/// What the inbox is told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its own name in banner and EHLO.
    pub hostname: String,
    /// The largest mail; give it some room over the listener's own limit, since tracking makes mails grow.
    pub message_bytes_max: usize,
    /// Recipients of one transaction.
    pub recipients_max: usize,
    /// The oldest beyond this go. [`MESSAGES_MAX`]
    pub messages_max: usize,
}

/// An inbox in a folder. Cheap to clone.
#[derive(Clone)]
pub struct Inbox {
    folder: Arc<Folder>,
    shared: Arc<Shared>,
    rules: Arc<Rules>,
    /// Never told to stop: a conversation ends when its client's side does.
    run: Arc<watch::Sender<bool>>,
}

/// The folder, one writer at a time.
struct Folder {
    path: PathBuf,
    messages_max: usize,
    writing: Mutex<()>,
}

impl Inbox {
    /// Opens the folder, making it if need be (mode 0700). Blocks on the disk.
    ///
    /// # Errors
    /// The folder cannot be made or read.
    pub fn open(path: impl Into<PathBuf>, options: &Options) -> io::Result<Inbox> {
        let path = path.into();
        disk::make_folder(&path)?;
        let folder = Folder { path, messages_max: options.messages_max, writing: Mutex::new(()) };
        let folder = Arc::new(folder);
        let mut conversation = session::Options::new(options.hostname.clone());
        conversation.message_bytes_max = options.message_bytes_max;
        conversation.recipients_max = options.recipients_max;
        // What reaches the inbox went through our own writer: a bare newline here is a fault that must be seen.
        conversation.bare_newlines = BareNewlines::Reject;
        let shared = Shared::new(listener::Options::new(conversation), Arc::new(Catcher(Arc::clone(&folder))), None);
        let rules = Rules {
            tls: TlsMode::None,
            logins: false,
            networks: vec![ipnet::IpNet::from(IpAddr::V4(Ipv4Addr::LOCALHOST))],
            org: Some(own_org().ok_or_else(|| io::Error::other("the inbox has no name"))?),
            proxies: Vec::new(),
        };
        let (run, _) = watch::channel(false);
        Ok(Inbox { folder, shared: Arc::new(shared), rules: Arc::new(rules), run: Arc::new(run) })
    }

    /// A connection to the inbox, as if dialled: plaintext SMTP, banner first. Must be called within a tokio runtime.
    pub fn dial(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(DUPLEX_BYTES);
        let (shared, rules, run) = (Arc::clone(&self.shared), Arc::clone(&self.rules), Arc::clone(&self.run));
        tokio::spawn(async move {
            let shutdown = run.subscribe();
            converse(ours, IpAddr::V4(Ipv4Addr::LOCALHOST), &rules, shared, shutdown).await;
        });
        theirs
    }

    /// The mails, newest first. Blocks on the disk.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        disk::list(&self.folder.path)
    }

    /// One mail; `None` when there is none of this id. Blocks on the disk.
    ///
    /// # Errors
    /// A file of it cannot be read.
    pub fn read(&self, id: &EntryId) -> io::Result<Option<Stored>> {
        disk::read(&self.folder.path, id)
    }
}

fn own_org() -> Option<OrgName> {
    "inbox".parse().ok()
}

/// Takes everything.
struct Catcher(Arc<Folder>);

impl Backend for Catcher {
    fn login(&self, _: Credentials, _: IpAddr) -> BoxFuture<'_, LoginOutcome> {
        Box::pin(async { LoginOutcome::Refused })
    }

    fn may_send_from(&self, _: &Submitter, _: &ReversePath) -> Result<(), Reply> {
        Ok(())
    }

    fn accept(&self, submission: Submission) -> BoxFuture<'_, Reply> {
        let folder = Arc::clone(&self.0);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || folder.keep(&submission)).await {
                Ok(Ok(id)) => Reply::accepted(id.as_str()),
                Ok(Err(error)) => {
                    tracing::error!(%error, "the inbox cannot keep a mail");
                    Reply::internal_error()
                }
                Err(error) => {
                    tracing::error!(%error, "the inbox panicked");
                    Reply::internal_error()
                }
            }
        })
    }
}

impl Folder {
    fn keep(&self, submission: &Submission) -> io::Result<EntryId> {
        let at = jiff::Timestamp::now();
        let random = getrandom::u64().map_err(io::Error::other)?;
        let entry = Entry::new(at, random, submission.mail.raw.len(), &submission.mail.envelope);
        let _one_at_a_time = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        disk::write(&self.path, &entry, &submission.mail.raw)?;
        disk::remove_oldest(&self.path, self.messages_max)?;
        Ok(entry.id)
    }
}
