//! What went wrong in the cut-through delivery of Exim, the one mail server that has had it for long: their bugs by number,
//! as far as we could have them.

use std::time::Duration;

use super::{HURRIED, PATIENT, drained, runtime, send, stages};
use crate::support::client::{Client, Submission};
use crate::support::process::Installation;
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

/// 2273, 2275: what went through directly stayed visible in the spool, and the queue delivered it once more.
#[test]
fn the_queue_leaves_alone_what_went_through() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new().on_nth(
        At::Dot,
        1,
        [Act::Wait(Duration::from_secs(4)), Act::Default],
    )));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let process = installation.start();
    assert_eq!(send(&installation, &Submission::new("m1", &["b"])).code(), 250);
    assert_eq!(send(&installation, &Submission::new("m2", &["b"])).code(), 250);
    drained(&installation, Duration::from_secs(10));
    assert!(process.terminate().success());
    let _process = installation.start();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(upstream.accepted().len(), 2);
}

/// JH/38: lines of a single dot were not doubled on their way on: cut mails, and duplicates.
#[test]
fn single_dots_arrive() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new()));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let _process = installation.start();
    let mut mail = Submission::new("m1", &["b"]);
    let text = b".\r\n..\r\n.\r\n\r\n.\r\n...\r\nlast\r\n.\r\n";
    let head = String::from_utf8(mail.content.clone()).unwrap().replace("text/html", "text/plain");
    mail.content = [head.as_bytes(), text].concat();
    assert_eq!(send(&installation, &mail).code(), 250);
    let accepted = upstream.accepted();
    assert_eq!(accepted.len(), 1);
    assert!(accepted[0].content.ends_with(&mail.content), "{}", String::from_utf8_lossy(&accepted[0].content));
}

/// 2230, 2604: what was known of the first mail of a session leaked into the second.
#[test]
fn the_second_mail_of_a_session_is_its_own() {
    let runtime = runtime();
    let script = Script::new()
        .answer(At::Rcpt, "<refused.", "550 5.1.1 nobody")
        .answer(At::Rcpt, "<later.", "450 4.2.0 not now")
        .answer(At::Mail, "a+m3@", "553 5.1.8 not you");
    let upstream = runtime.block_on(ScriptedUpstream::start(script));
    let installation = Installation::new(upstream.addr(), PATIENT);
    let _process = installation.start();
    let mut client = Client::connect(installation.smtp).unwrap();
    let mut codes = Vec::new();
    for (id, names) in
        [("m1", &["refused"][..]), ("m2", &["b"]), ("m3", &["c"]), ("m4", &["later"]), ("m5", &["b", "c"])]
    {
        codes.push(client.submit(&Submission::new(id, names)).code());
    }
    assert_eq!(codes, [550, 250, 553, 250, 250], "{}", installation.log());
    let mut got: Vec<String> = upstream.accepted().iter().flat_map(|mail| mail.rcpts.clone()).collect();
    got.iter_mut().for_each(|rcpt| *rcpt = rcpt.split(['<', '>']).nth(1).unwrap_or_default().to_owned());
    got.sort();
    assert_eq!(got, ["b.m2@ok.test", "b.m5@ok.test", "c.m5@ok.test"]);
    assert_eq!(stages(&installation).len(), 1, "only m4 waits");
}

/// 2229: on a port that is not 25 the second recipient missed the open connection.
#[test]
fn recipients_share_connections() {
    let runtime = runtime();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new()));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let _process = installation.start();
    for n in 0..4 {
        let mail = Submission::new(&format!("m{n}"), &["b", "c", "d", "e"]);
        assert_eq!(send(&installation, &mail).code(), 250);
    }
    assert_eq!(upstream.accepted().iter().map(|mail| mail.rcpts.len()).sum::<usize>(), 16);
    assert!(upstream.connections() <= 3, "{} connections for 16 copies", upstream.connections());
}

/// JH/45: a refusal of upstream at RCPT did not reach the client.
#[test]
fn a_refused_recipient_is_refused() {
    let runtime = runtime();
    let refusing = Script::new().answer(At::Rcpt, "<refused.", "550 5.1.1 nobody of that name");
    let upstream = runtime.block_on(ScriptedUpstream::start(refusing));
    let installation = Installation::new(upstream.addr(), HURRIED);
    let _process = installation.start();
    let told = send(&installation, &Submission::new("m1", &["refused"]));
    let reply = told.reply.unwrap();
    assert_eq!(reply.code, 550);
    assert!(reply.text.starts_with("5.1.1 ") && reply.text.contains("nobody of that name"), "{reply:?}");
    assert_eq!((stages(&installation), upstream.mails().len()), (vec![], 0));
}
