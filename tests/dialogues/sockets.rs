//! The same conversations over loopback, through the listener's own code, TLS included.

use super::client;
use super::pure::has_line;
use super::script::{Facts, Script, Step};

/// How the script's connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// As its facts say.
    AtOnce,
    /// In the clear, then STARTTLS; the script goes on behind the banner, which does not come again.
    AfterStartTls,
}

async fn open(facts: Facts, opening: Opening) -> client::Server {
    if opening == Opening::AtOnce {
        return client::connect(facts).await;
    }
    let mut server = client::connect(Facts { implicit: false, starttls: true, ..facts }).await;
    for octets in [&b""[..], b"EHLO before.test\r\n", b"STARTTLS\r\n"] {
        assert!(server.client.answer(octets).await.starts_with('2'));
    }
    server.client.start_tls().await;
    server
}

pub(super) async fn run(script: &Script, opening: Opening) {
    let mut server = open(script.facts, opening).await;
    let mut reply = Vec::new();
    let banner = usize::from(opening == Opening::AfterStartTls);
    for (line, step) in script.steps.iter().skip(banner) {
        let place = format!("{}.smtp:{line} ({opening:?}, implicit: {})", script.name, script.facts.implicit);
        match step {
            Step::Send(octets) => server.client.send(octets).await,
            Step::Reply(expected) => {
                reply = server.client.reply().await.unwrap_or_else(|| panic!("{place}: closed"));
                assert!(reply[0].starts_with(expected.as_str()), "{place}: {reply:?}");
            }
            Step::HasLine(text) => assert!(has_line(&reply, text), "{place}: {reply:?}"),
            Step::LacksLine(text) => assert!(!has_line(&reply, text), "{place}: {reply:?}"),
            Step::StartTls => server.client.start_tls().await,
            Step::Mail(from, to) => {
                let newest = server.backend.taken.lock().unwrap().last().cloned().unwrap();
                assert_eq!((&newest.from, &newest.to), (from, to), "{place}");
            }
            Step::Body(raw) => {
                let newest = server.backend.taken.lock().unwrap().last().cloned().unwrap();
                assert_eq!(newest.raw.escape_ascii().to_string(), raw.escape_ascii().to_string(), "{place}");
            }
            Step::Count(count) => assert_eq!(server.backend.taken.lock().unwrap().len(), *count, "{place}"),
            Step::Closed => assert_eq!(server.client.reply().await, None, "{place}"),
        }
    }
}
