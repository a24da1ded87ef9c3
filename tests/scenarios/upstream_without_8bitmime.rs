//! Upstream takes seven bits only: 8-bit mail arrives encoded, tracked and readable, or is refused with the reason.

use mail_parser::MessageParser;
use tokio::runtime::Runtime;

use super::first_light::{submit, wait_for};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};
use crate::support::upstream::{RecordedMail, Script, ScriptedUpstream};

const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: one@x.test, two@x.test\r\nSubject: The offer\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=the-boundary\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    --the-boundary\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    <html><body><p>Grüße, <a href=\"https://shop.example/offer?a=1&amp;b=2\">the offer</a> für 5 €</p></body></html>\r\n\
    --the-boundary\r\nContent-Type: application/json; name=a.json\r\n\r\n{\"city\": \"Köln\"}\r\n--the-boundary--\r\n";

/// A server of its own, on a runtime of its own.
fn upstream(keywords: &[&str]) -> (Runtime, ScriptedUpstream) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = runtime.block_on(ScriptedUpstream::start(Script::new().keywords(keywords)));
    (runtime, server)
}

const SEVEN_BIT: &[&str] = &["PIPELINING", "SIZE 10000000", "ENHANCEDSTATUSCODES"];

/// In seven bits, with the sender's words and our pixel and link, which leads where the sender's did.
fn is_encoded_and_tracked(mail: &RecordedMail, relay: &Running) -> String {
    assert!(mail.content.is_ascii() && !mail.mail.contains("8BITMIME"), "{}", mail.mail);
    let message = MessageParser::default().parse(&mail.content).unwrap();
    let html = message.body_html(0).unwrap().into_owned();
    assert!(html.contains("<p>Grüße, <a href") && html.contains(">the offer</a> für 5 €</p>"), "{html}");
    assert_eq!(message.attachment(0).unwrap().contents(), "{\"city\": \"Köln\"}".as_bytes());
    assert!(!String::from_utf8_lossy(&mail.content).contains("8bit"));
    assert_eq!(pixels(html.as_bytes(), &relay.public_url()).len(), 1);
    let click = clicks(html.as_bytes(), &relay.public_url()).remove(0);
    assert_eq!(http(relay.tracking, "GET", &click, &[]).header("location"), Some("https://shop.example/offer?a=1&b=2"));
    click
}

#[test]
fn every_copy_is_encoded_while_the_client_waits() {
    let (_runtime, server) = upstream(SEVEN_BIT);
    let relay = Running::start(Upstream::Smtp(server.addr()), "");
    // Twice: before upstream has said what it takes, and after.
    for round in 1..=2 {
        let answer = submit(relay.smtp, "ana@example.com", &["one@x.test", "two@x.test"], MAIL);
        assert!(answer.starts_with("250 2.0.0"), "{answer}");
        let mails = server.accepted();
        assert_eq!(mails.len(), 2 * round);
        let mut clicks: Vec<String> = mails.iter().map(|mail| is_encoded_and_tracked(mail, &relay)).collect();
        clicks.sort();
        clicks.dedup();
        assert_eq!(clicks.len(), 2 * round, "each copy has links of its own");
    }
}

#[test]
fn a_copy_from_the_spool_is_encoded_too() {
    let (_runtime, server) = upstream(SEVEN_BIT);
    let relay = Running::start(Upstream::Smtp(server.addr()), "[spool]\ncopies_max = 0");
    let answer = submit(relay.smtp, "ana@example.com", &["one@x.test"], MAIL);
    assert!(answer.starts_with("250 2.0.0") && answer.contains("queued"), "{answer}");
    let mails = wait_for(|| Some(server.accepted()).filter(|mails| !mails.is_empty()));
    is_encoded_and_tracked(&mails[0], &relay);
    // What cannot be encoded comes back as a report that itself goes in seven bits.
    let signed = format!("DKIM-Signature: v=1\r\n{MAIL}");
    let answer = submit(relay.smtp, "ana@example.com", &["one@x.test"], &signed);
    assert!(answer.starts_with("250 2.0.0"), "{answer}");
    let report = wait_for(|| server.accepted().into_iter().nth(1));
    let text = String::from_utf8(report.content).unwrap();
    assert!(report.rcpts == ["RCPT TO:<ana@example.com>"] && text.is_ascii(), "{text}");
    assert!(text.contains("Status: 5.6.3") && text.contains("DKIM signature"), "{text}");
}

#[test]
fn what_cannot_be_encoded_is_refused_with_the_reason_and_goes_elsewhere_as_it_is() {
    let rows = [
        (format!("DKIM-Signature: v=1\r\n{MAIL}"), "554 5.6.3 ", "it carries a DKIM signature"),
        (MAIL.replace("The offer", "Grüße"), "553 5.6.7 ", "a header has octets above 127"),
        (MAIL.replace("application/json; name=a.json", "message/rfc822"), "554 5.6.3 ", "none can be encoded"),
    ];
    let (_runtime, server) = upstream(SEVEN_BIT);
    let (_modern_runtime, modern) = upstream(&["PIPELINING", "8BITMIME"]);
    let relay = Running::start(Upstream::Smtp(server.addr()), "");
    let elsewhere = Running::start(Upstream::Smtp(modern.addr()), "");
    for (mail, code, words) in rows {
        let answer = submit(relay.smtp, "ana@example.com", &["one@x.test", "two@x.test"], &mail);
        assert!(answer.starts_with(code) && answer.contains(words), "{answer}");
        let answer = submit(elsewhere.smtp, "ana@example.com", &["one@x.test"], &mail);
        assert!(answer.starts_with("250"), "{answer}");
    }
    assert_eq!(server.mails(), [], "nothing may have been sent");
    for mail in modern.accepted() {
        assert!(mail.mail.ends_with(" BODY=8BITMIME"), "{}", mail.mail);
        assert!(String::from_utf8(mail.content).unwrap().contains("Köln"));
    }
}
