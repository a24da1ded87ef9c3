//! A scripted upstream: an SMTP server on a port of its own that records every transaction octet by octet and misbehaves
//! where its script says so.
//!
//! It shares no code with the client it tests: its own line reader, its own end-of-data search, its own unstuffing.
//!
//! ```ignore
//! let upstream = ScriptedUpstream::start(Script::new().on(At::Dot, [Act::say("451 later")])).await;
//! // … deliver to upstream.addr() …
//! assert_eq!(upstream.mails()[0].content, b"…");
//! ```
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod peer;
mod script;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use peer::Peer;
pub(crate) use script::{Act, At, Script};

/// One transaction that got as far as a 354.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RecordedMail {
    /// Which connection, from 1.
    pub(crate) connection: usize,
    /// The MAIL command without CRLF.
    pub(crate) mail: String,
    /// The RCPT commands that were accepted, without CRLF.
    pub(crate) rcpts: Vec<String>,
    /// Everything after the 354 up to and with the end of data, as it came.
    pub(crate) wire: Vec<u8>,
    /// The same without the end of data and without dot-stuffing.
    pub(crate) content: Vec<u8>,
    /// The end of data was there.
    pub(crate) complete: bool,
    /// It was answered 2yz.
    pub(crate) accepted: bool,
    /// It came over TLS.
    pub(crate) tls: bool,
    /// Who had logged in.
    pub(crate) login: Option<String>,
}

#[derive(Default)]
struct Records {
    mails: Vec<RecordedMail>,
    commands: Vec<String>,
    connections: usize,
    open: usize,
}

/// The server. Ends when dropped.
pub(crate) struct ScriptedUpstream {
    addr: SocketAddr,
    records: Arc<Mutex<Records>>,
    script: Arc<Mutex<Script>>,
    task: JoinHandle<()>,
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ScriptedUpstream {
    pub(crate) async fn start(script: Script) -> ScriptedUpstream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let records: Arc<Mutex<Records>> = Arc::default();
        let script = Arc::new(Mutex::new(script));
        let task = tokio::spawn(accept(listener, records.clone(), script.clone()));
        ScriptedUpstream { addr, records, script, task }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From the next command on.
    pub(crate) fn change(&self, script: Script) {
        *self.script.lock().unwrap() = script;
    }

    /// Every transaction that got a 354, in the order of their ends.
    pub(crate) fn mails(&self) -> Vec<RecordedMail> {
        self.records.lock().unwrap().mails.clone()
    }

    /// Those answered 2yz at the dot.
    pub(crate) fn accepted(&self) -> Vec<RecordedMail> {
        self.mails().into_iter().filter(|mail| mail.accepted).collect()
    }

    /// Every command line of every connection, without CRLF; lines sent in AUTH included.
    pub(crate) fn commands(&self) -> Vec<String> {
        self.records.lock().unwrap().commands.clone()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.records.lock().unwrap().connections
    }

    /// How many are open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.records.lock().unwrap().open
    }
}

async fn accept(listener: TcpListener, records: Arc<Mutex<Records>>, script: Arc<Mutex<Script>>) {
    // Connections end with the server.
    let mut peers = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let connection = {
            let mut records = records.lock().unwrap();
            records.connections += 1;
            records.open += 1;
            records.connections
        };
        let (records, script) = (records.clone(), script.clone());
        peers.spawn(async move {
            let peer = Peer::new(stream, connection, records.clone(), script);
            drop(Box::pin(peer.serve()).await);
            records.lock().unwrap().open -= 1;
        });
    }
}
