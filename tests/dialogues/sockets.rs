//! The same conversations over loopback, through the listener's own code, TLS included.

use super::client;
use super::pure::has_line;
use super::script::{Script, Step};

pub(super) async fn run(script: &Script) {
    let mut server = client::connect(script.facts).await;
    let mut reply = Vec::new();
    for (line, step) in &script.steps {
        let place = format!("{}.smtp:{line} (socket)", script.name);
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
