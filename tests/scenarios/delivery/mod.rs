//! Our SMTP client against a scripted upstream.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

mod answers;
mod body;
mod broken;
mod inbox;
mod pool;
mod security;

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use waxseal::deliver::{Credentials, Deadlines, Fate, Options, Outbound, Security, TcpDial, Upstream};
use waxseal::message::{Envelope, Recipient};
use waxseal::smtp::extension::{MailParams, RcptParams};
use waxseal::smtp::{ForwardPath, ReversePath};

use crate::support::upstream::ScriptedUpstream;

/// Long enough for a busy machine, short enough to wait for where a wait must run out.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(20);

/// Waits that no healthy answer reaches.
fn patient() -> Options {
    let mut options = Options::named("relay.test");
    options.connect = LONG;
    options.greeting = LONG;
    options.tls_handshake = LONG;
    options.command = LONG;
    options.data_init = LONG;
    options.data_block = LONG;
    options.dot = LONG;
    options
}

fn client(server: &ScriptedUpstream, options: Options) -> Upstream {
    secured(server, Security::None, None, options)
}

/// Dials by name, because the name is what certificates are for.
fn secured(server: &ScriptedUpstream, security: Security, login: Option<Credentials>, options: Options) -> Upstream {
    let dial = TcpDial::new("localhost", server.addr().port(), options.connect);
    Upstream::new(dial, security, login, options)
}

fn envelope(to: &[&str]) -> Envelope {
    let recipient = |address: &&str| Recipient {
        path: ForwardPath::parse(address.as_bytes(), true).unwrap(),
        params: RcptParams::default(),
    };
    Envelope {
        reverse_path: ReversePath::parse(b"alice@example.com", false).unwrap(),
        params: MailParams::default(),
        recipients: to.iter().map(recipient).collect(),
    }
}

const CONTENT: &[u8] = b"Subject: hello\r\n\r\nA line.\r\n.A dotted line.\r\n";

fn mail(to: &[&str]) -> Outbound {
    Outbound::new(envelope(to), Bytes::from_static(CONTENT).into())
}

fn ample() -> Deadlines {
    let now = Instant::now();
    Deadlines { dot_sent_by: now + LONG, dot_answered_by: now + LONG }
}

async fn deliver(upstream: &Upstream, outbound: Outbound) -> Vec<String> {
    said(&upstream.deliver(outbound, ample()).await.unwrap())
}

/// One line a fate: its kind and its words.
fn said(fates: &[Fate]) -> Vec<String> {
    let kind = |fate: &Fate| match fate {
        Fate::Accepted { .. } => "accepted".to_owned(),
        Fate::Refused { stage, .. } => format!("refused at {}", stage.as_str()),
        Fate::Deferred { .. } => "deferred".to_owned(),
        Fate::Unknown { .. } => "unknown".to_owned(),
    };
    fates.iter().map(|fate| format!("{}: {fate}", kind(fate))).collect()
}
