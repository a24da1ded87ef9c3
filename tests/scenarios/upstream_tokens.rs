//! `auth = "oauth"`: the token comes from a command, is used until upstream refuses it, and then asked for anew.

use tokio::runtime::Runtime;

use super::first_light::submit;
use crate::support::relay::{Running, Upstream};
use crate::support::upstream::{Script, ScriptedUpstream};

const MAIL: &str = "From: ana@example.com\r\nTo: b@ok.test\r\nSubject: x\r\n\r\nhello\r\n";

fn upstream(mechanisms: &str, token: &str) -> (Runtime, ScriptedUpstream) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let script = Script::new().login("relay@example.com", token, mechanisms);
    let upstream = runtime.block_on(ScriptedUpstream::start(script));
    (runtime, upstream)
}

#[test]
fn a_token_is_renewed_when_upstream_refuses_it() {
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    for mechanisms in ["PLAIN XOAUTH2", "OAUTHBEARER"] {
        std::fs::write(&runs, "").unwrap();
        let (_runtime, upstream) = upstream(mechanisms, "t0ken-1");
        let command = format!("echo x >> {0}; echo t0ken-$(wc -l < {0} | tr -d \\\" \\\")", runs.display());
        let auth = format!(
            "auth = \"oauth\"\nusername = \"relay@example.com\"\ntoken_command = \"{}\"",
            command.replace("\\\"", "'")
        );
        let more = "[limits]\nupstream_mails_per_connection_max = 1\n\
                    [spool]\nbudget_secs = 5\nrecord_by_secs = 10\nretry_secs = [1]\n";
        let relay = Running::start(Upstream::Login(upstream.addr(), auth), more);
        for _ in 0..2 {
            let answer = submit(relay.smtp, "ana@example.com", &["b@ok.test"], MAIL);
            assert!(answer.starts_with("250 2.0.0 queued as Q1"), "{answer}");
        }
        assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 1, "kept for the second mail");
        assert_eq!(upstream.accepted()[0].login.as_deref(), Some("relay@example.com"));
        // Upstream wants another: the mail waits, and goes with the next token.
        upstream.change(Script::new().login("relay@example.com", "t0ken-2", mechanisms));
        let answer = submit(relay.smtp, "ana@example.com", &["c@ok.test"], MAIL);
        assert!(answer.starts_with("250 2.0.0 OK, queued"), "{answer}");
        super::first_light::wait_for(|| (upstream.accepted().len() == 3).then_some(()));
        assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 2);
    }
}

/// A command that fails is the operator's to mend: the mail is kept.
#[test]
fn without_a_token_the_mail_waits() {
    let (_runtime, upstream) = upstream("XOAUTH2", "t0ken");
    let auth = "auth = \"oauth\"\nusername = \"relay@example.com\"\ntoken_command = \"exit 1\"".to_owned();
    let relay = Running::start(Upstream::Login(upstream.addr(), auth), "");
    let answer = submit(relay.smtp, "ana@example.com", &["b@ok.test"], MAIL);
    assert!(answer.starts_with("250 2.0.0 OK, queued"), "{answer}");
    let queue = relay.cli(&["queue", "list"]);
    assert!(queue.contains("no access token: token_command failed"), "{queue}");
}
