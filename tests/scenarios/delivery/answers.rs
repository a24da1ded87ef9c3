//! Whatever upstream answers, each recipient gets a fate of its own, and nobody gets a mail who was refused.

use waxseal::deliver::{CannotCarry, Outbound};
use waxseal::smtp::extension::{Notify, RcptParams, Ret};

use super::{ample, client, deliver, envelope, mail, patient};
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

const QUEUED: &str = "accepted: 250 2.0.0 queued as Q1";

#[tokio::test]
async fn a_healthy_upstream_gets_the_mail_in_one_go() {
    for keywords in [vec!["PIPELINING", "SIZE"], vec!["pipelining", "size 100000"], vec![]] {
        let server = ScriptedUpstream::start(Script::new().keywords(&keywords)).await;
        let fates = deliver(&client(&server, patient()), mail(&["b@y.test", "c@y.test"])).await;
        assert_eq!(fates, [QUEUED, QUEUED]);
        let mails = server.accepted();
        assert_eq!(mails.len(), 1);
        let size = if keywords.is_empty() { String::new() } else { format!(" SIZE={}", super::CONTENT.len()) };
        assert_eq!(mails[0].mail, format!("MAIL FROM:<alice@example.com>{size}"));
        assert_eq!(mails[0].rcpts, ["RCPT TO:<b@y.test>", "RCPT TO:<c@y.test>"]);
        assert_eq!(mails[0].content, super::CONTENT);
        assert_eq!(server.commands()[0], "EHLO relay.test");
    }
}

/// Where, what upstream says there, the fates of b and c. Run with and without pipelining: the same.
#[tokio::test]
async fn every_stage_and_answer() {
    let table: &[(At, &str, &str, [&str; 2])] = &[
        // what is said about the mail passes on; only the one it is about
        (At::Rcpt, "<c@", "550 5.1.1 no such user", [QUEUED, "refused at rcpt: 550 5.1.1 no such user"]),
        (At::Rcpt, "<c@", "450 4.2.0 greylisted", [QUEUED, "deferred: 450 4.2.0 greylisted at rcpt"]),
        (At::Rcpt, "", "550 5.7.1 no", ["refused at rcpt: 550 5.7.1 no", "refused at rcpt: 550 5.7.1 no"]),
        (At::Mail, "", "553 5.1.8 no", ["refused at mail: 553 5.1.8 no", "refused at mail: 553 5.1.8 no"]),
        (At::Mail, "", "451 4.3.0 later", ["deferred: 451 4.3.0 later at mail", "deferred: 451 4.3.0 later at mail"]),
        (At::Data, "", "554 5.3.0 no", ["refused at data: 554 5.3.0 no", "refused at data: 554 5.3.0 no"]),
        (At::Dot, "", "554 5.7.1 spam", ["refused at dot: 554 5.7.1 spam", "refused at dot: 554 5.7.1 spam"]),
        (At::Dot, "", "451 4.3.0 later", ["deferred: 451 4.3.0 later at dot", "deferred: 451 4.3.0 later at dot"]),
        // a protocol error and "log in first" are ours
        (At::Mail, "", "503 5.5.1 what", ["deferred: 503 5.5.1 what at mail", "deferred: 503 5.5.1 what at mail"]),
        (At::Mail, "", "530 5.7.0 auth", ["deferred: 530 5.7.0 auth at mail", "deferred: 530 5.7.0 auth at mail"]),
        // a success that is not 250 is one; a 3yz at the dot is no success, and a word no reply
        (At::Dot, "", "251 fine", ["accepted: 251 fine", "accepted: 251 fine"]),
        (
            At::Dot,
            "",
            "354 more",
            ["unknown: perhaps delivered: a reply out of place, 354 more after the final dot"; 2],
        ),
        (At::Dot, "", "banana", ["unknown: perhaps delivered: a line that is no SMTP reply after the final dot"; 2]),
        (At::Mail, "", "banana", ["deferred: a line that is no SMTP reply at mail"; 2]),
        (At::Data, "", "250 what", ["deferred: a reply out of place, 250 what at data"; 2]),
        // 421 is temporary wherever it comes
        (At::Mail, "", "421 4.3.2 closing", ["deferred: 421 4.3.2 closing at mail"; 2]),
        (At::Rcpt, "<c@", "421 4.3.2 closing", ["deferred: 421 4.3.2 closing at rcpt"; 2]),
        (At::Dot, "", "421 4.3.2 closing", ["deferred: 421 4.3.2 closing at dot"; 2]),
    ];
    for pipelining in [true, false] {
        for (at, holding, line, expected) in table {
            let script = if pipelining { Script::new() } else { Script::new().keywords(&["ENHANCEDSTATUSCODES"]) };
            let server = ScriptedUpstream::start(script.answer(*at, holding, line)).await;
            let fates = deliver(&client(&server, patient()), mail(&["b@y.test", "c@y.test"])).await;
            assert_eq!(fates, expected, "{line} at {at:?}, pipelining: {pipelining}");
            // The ledger: accepted fates and accepted recipients are as many.
            let accepted = fates.iter().filter(|f| f.starts_with("accepted")).count();
            let recorded: usize = server.accepted().iter().map(|m| m.rcpts.len()).sum();
            assert_eq!(accepted, recorded, "{line} at {at:?}");
        }
    }
}

#[tokio::test]
async fn nobody_accepted_but_a_354_all_the_same() {
    let script = Script::new().answer(At::Rcpt, "", "550 5.1.1 no").answer(At::Data, "", "354 go ahead");
    let server = ScriptedUpstream::start(script).await;
    let upstream = client(&server, patient());
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, ["refused at rcpt: 550 5.1.1 no"]);
    // No dot was sent, so nobody got an empty mail; the next mail takes another connection.
    server.change(Script::new());
    assert_eq!(deliver(&upstream, mail(&["c@y.test"])).await, [QUEUED]);
    let mails = server.mails();
    assert!(mails.iter().filter(|m| m.connection == 1).all(|m| m.wire.is_empty() && !m.complete), "{mails:?}");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_250_with_a_421_behind_it_counts() {
    let script = Script::new().on_nth(At::Dot, 1, [Act::Say(b"250 2.0.0 queued\r\n421 4.3.2 bye\r\n".to_vec())]);
    let server = ScriptedUpstream::start(script).await;
    let upstream = client(&server, patient());
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, ["accepted: 250 2.0.0 queued"]);
    assert_eq!(deliver(&upstream, mail(&["c@y.test"])).await, [QUEUED]);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn parameters_upstream_chokes_on_are_left_out_once() {
    // MAIL: refused with SIZE, taken without
    let server = ScriptedUpstream::start(Script::new().answer(At::Mail, "SIZE", "555 5.5.4 SIZE?")).await;
    assert_eq!(deliver(&client(&server, patient()), mail(&["b@y.test"])).await, [QUEUED]);
    assert_eq!(server.accepted()[0].mail, "MAIL FROM:<alice@example.com>");
    // the same again is a refusal
    let server = ScriptedUpstream::start(Script::new().answer(At::Mail, "", "501 5.1.7 bad sender")).await;
    let fates = deliver(&client(&server, patient()), mail(&["b@y.test"])).await;
    assert_eq!(fates, ["refused at mail: 501 5.1.7 bad sender"]);
    assert_eq!(server.commands().iter().filter(|c| c.starts_with("MAIL")).count(), 2);
    // RCPT: only the one that was refused is said again
    let server =
        ScriptedUpstream::start(Script::new().answer(At::Rcpt, "<c@y.test> NOTIFY", "501 5.5.4 NOTIFY?")).await;
    assert_eq!(deliver(&client(&server, patient()), with_dsn()).await, [QUEUED, QUEUED]);
    let rcpts = &server.accepted()[0].rcpts;
    assert_eq!(rcpts[0], "RCPT TO:<b@y.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b@old.test");
    assert_eq!(rcpts[1], "RCPT TO:<c@y.test>");
}

fn with_dsn() -> Outbound {
    let mut outbound = mail(&["b@y.test", "c@y.test"]);
    outbound.envelope.params.ret = Some(Ret::Hdrs);
    outbound.envelope.params.envid = Some("QQ+2B1".to_owned());
    let notify = Some(Notify { success: false, failure: true, delay: true });
    outbound.envelope.recipients[0].params = RcptParams { notify, orcpt: Some("rfc822;b@old.test".to_owned()) };
    outbound.envelope.recipients[1].params = RcptParams { notify, orcpt: None };
    outbound
}

#[tokio::test]
async fn dsn_parameters_pass_where_they_are_understood() {
    let server = ScriptedUpstream::start(Script::new().keywords(&["PIPELINING", "dsn"])).await;
    deliver(&client(&server, patient()), with_dsn()).await;
    assert_eq!(server.accepted()[0].mail, "MAIL FROM:<alice@example.com> RET=HDRS ENVID=QQ+2B1");
    let server = ScriptedUpstream::start(Script::new().keywords(&["PIPELINING"])).await;
    deliver(&client(&server, patient()), with_dsn()).await;
    assert_eq!(server.accepted()[0].mail, "MAIL FROM:<alice@example.com>");
    assert_eq!(server.accepted()[0].rcpts, ["RCPT TO:<b@y.test>", "RCPT TO:<c@y.test>"]);
}

#[tokio::test]
async fn more_recipients_than_upstream_takes_at_once() {
    let script = Script::new().recipients_max(2);
    let server = ScriptedUpstream::start(script).await;
    let to: Vec<String> = (0..5).map(|i| format!("r{i}@y.test")).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    assert_eq!(deliver(&client(&server, patient()), mail(&to)).await, [QUEUED; 5]);
    let mut got: Vec<String> = server.accepted().into_iter().flat_map(|m| m.rcpts).collect();
    got.sort();
    assert_eq!(got, to.iter().map(|t| format!("RCPT TO:<{t}>")).collect::<Vec<_>>(), "each exactly once");
    assert_eq!(server.accepted().len(), 3);
    // without progress it is an ordinary temporary failure, and no endless loop
    let server = ScriptedUpstream::start(Script::new().answer(At::Rcpt, "", "452 4.2.2 full")).await;
    let fates = deliver(&client(&server, patient()), mail(&["b@y.test"])).await;
    assert_eq!(fates, ["deferred: 452 4.2.2 full at rcpt"]);
    let script = Script::new().answer(At::Rcpt, "<c@", "452 4.2.2 full");
    let server = ScriptedUpstream::start(script).await;
    let fates = deliver(&client(&server, patient()), mail(&["b@y.test", "c@y.test"])).await;
    assert_eq!(fates, [QUEUED, "deferred: 452 4.2.2 full at rcpt"]);
    assert_eq!(server.accepted().len(), 1);
}

#[tokio::test]
async fn a_thousand_recipients_do_not_deadlock() {
    let server = ScriptedUpstream::start(Script::new()).await;
    let to: Vec<String> = (0..1000).map(|i| format!("{}{i}@y.test", "r".repeat(100))).collect();
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let fates = deliver(&client(&server, patient()), mail(&to)).await;
    assert!(fates.iter().all(|f| f == QUEUED) && fates.len() == 1000);
    assert_eq!(server.accepted()[0].rcpts.len(), 1000);
}

#[tokio::test]
async fn what_upstream_cannot_carry_is_said_before_anything_is_sent() {
    let server = ScriptedUpstream::start(Script::new().keywords(&["SIZE 100"])).await;
    let upstream = client(&server, patient());
    let with_body = |to: &str, text: &'static str| {
        Outbound::new(envelope(&[to]), bytes::Bytes::from_static(text.as_bytes()).into())
    };
    let table = [
        (with_body("b@y.test", "Subject: x\r\n\r\nb\u{f6}dy\r\n"), Err(CannotCarry::EightBit)),
        (with_body("\u{fc}@y.test", "Subject: x\r\n\r\nbody\r\n"), Err(CannotCarry::Utf8)),
        (
            with_body(
                "b@y.test",
                "Subject: 0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890\r\n",
            ),
            Err(CannotCarry::TooLarge { limit_bytes: 100 }),
        ),
        (with_body("b@y.test", "Subject: x\r\n\r\nbody\r\n"), Ok(())),
    ];
    for (outbound, expected) in table {
        assert_eq!(upstream.deliver(outbound, ample()).await.map(drop), expected);
    }
    // only the last one began a transaction, and all used one connection
    assert_eq!(server.commands().iter().filter(|c| c.starts_with("MAIL")).count(), 1);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn paths_leave_as_they_came() {
    let server = ScriptedUpstream::start(Script::new()).await;
    let to = ["\"x@evil.test> NOTIFY=NEVER \"@ok.test", "Bob@Example.TEST", "\u{fc}ser@y.test"];
    deliver(&client(&server, patient()), mail(&to)).await;
    assert_eq!(server.accepted()[0].rcpts, to.map(|t| format!("RCPT TO:<{t}>")));
    assert!(server.accepted()[0].mail.contains(" SMTPUTF8"));
}

#[tokio::test]
async fn an_old_server_gets_helo() {
    let script = Script::new().answer(At::Ehlo, "", "502 5.5.1 what is EHLO");
    let server = ScriptedUpstream::start(script).await;
    assert_eq!(deliver(&client(&server, patient()), mail(&["b@y.test"])).await, [QUEUED]);
    assert_eq!(server.commands()[..3], ["EHLO relay.test", "HELO relay.test", "MAIL FROM:<alice@example.com>"]);
}

#[tokio::test]
async fn what_is_said_before_mail_is_our_trouble() {
    let table = [
        (Script::new().answer(At::Greeting, "", "554 5.7.1 blocked"), "deferred: 554 5.7.1 blocked at greeting"),
        (Script::new().answer(At::Greeting, "", "421 busy"), "deferred: 421 busy at greeting"),
        (Script::new().answer(At::Greeting, "", "banana"), "deferred: a line that is no SMTP reply at greeting"),
        (
            Script::new().answer(At::Ehlo, "", "550 go").answer(At::Helo, "", "550 go away"),
            "deferred: 550 go away at ehlo",
        ),
        (
            Script::new().on(At::Greeting, [Act::Say(b"220 a\r\n250 b\r\n".to_vec())]),
            "deferred: a reply that nobody asked for at ehlo",
        ),
        (
            Script::new().on(At::Greeting, [Act::Say(b"220 a\r\n421 shutting down\r\n".to_vec())]),
            "deferred: 421 shutting down at ehlo",
        ),
    ];
    for (script, expected) in table {
        let server = ScriptedUpstream::start(script).await;
        let fates = client(&server, patient()).deliver(mail(&["b@y.test"]), ample()).await.unwrap();
        assert_eq!(super::said(&fates), [expected]);
        assert!(fates[0].is_our_trouble(), "{expected}");
        assert!(server.mails().is_empty());
    }
}
