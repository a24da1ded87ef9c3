//! Conversations: a file each, run against the pure session and again over a socket.
//!
//! A `*.smtp` file, line by line:
//!
//! | line | means |
//! |---|---|
//! | `! remote`, `! trusted`, `! starttls`, `! implicit`, `! no-logins`, `! dsn`, `! bearer`, `! reject`, `! small` | the facts: see `script::Facts` |
//! | `! plain` | it is about a connection without TLS: do not run it over TLS too |
//! | `! segments` | the meaning lies in what comes together: do not run it octet by octet too |
//! | `C: text` | sent, with CRLF; lines that follow each other go in one write |
//! | `C\| text` | sent without CRLF; `\r \n \0 \t \\ \xNN` in both |
//! | `S: 250 2.1.0` | the next reply's first line begins so |
//! | `S+ text`, `S- text` | that reply has, has not, this line |
//! | `T` | the client begins TLS |
//! | `M: from -> to, to` | the newest mail's envelope |
//! | `B: text` | its octets |
//! | `N: 2` | so many mails were taken in all |
//! | `X` | the server closes, and has said no more |
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on stops here")]

mod backend;
mod client;
mod end_of_data;
mod inbox;
mod limits_met;
mod logins;
mod pure;
mod script;
mod segments;
mod serving;
mod sockets;
mod vectors;

use script::Script;

fn scripts() -> Vec<Script> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogues");
    let mut found = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "smtp") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            found.push(Script::parse(&name, &std::fs::read_to_string(&path).unwrap()));
        }
    }
    assert!(found.len() >= 10, "only {} dialogues found", found.len());
    found
}

#[test]
fn against_the_pure_session() {
    for script in scripts() {
        for script in under_tls(&script).into_iter().chain([script]) {
            pure::run(&script, pure::Pieces::Whole);
            if !script.facts.segments {
                pure::run(&script, pure::Pieces::Octets);
            }
        }
    }
}

/// The same with TLS from the first octet, where that is not what it is about.
fn under_tls(script: &Script) -> Option<Script> {
    let facts = script.facts;
    let other = !facts.plain && !facts.implicit && !facts.starttls;
    other.then(|| Script { facts: script::Facts { implicit: true, ..facts }, ..script.clone() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_socket() {
    let mut over_tls = 0;
    for script in scripts() {
        sockets::run(&script, sockets::Opening::AtOnce).await;
        if let Some(script) = under_tls(&script) {
            sockets::run(&script, sockets::Opening::AtOnce).await;
            sockets::run(&script, sockets::Opening::AfterStartTls).await;
            over_tls += 1;
        }
    }
    assert!(over_tls >= 20, "only {over_tls} dialogues over TLS");
}
