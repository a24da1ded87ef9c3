//! TLS and logins: what must be secret is, or nothing is sent.

use bytes::Bytes;
use waxseal::deliver::tls::{Roots, TlsClient};
use waxseal::deliver::{Credentials, Outbound, Security};

use super::{ample, deliver, envelope, mail, patient, said, secured};
use crate::support::certificate::TestCertificate;
use crate::support::upstream::{Act, At, Script, ScriptedUpstream};

const QUEUED: [&str; 1] = ["accepted: 250 2.0.0 queued as Q1"];

fn trusting(certificate: &TestCertificate) -> TlsClient {
    TlsClient::new("localhost", &Roots::File(certificate.ca_file())).unwrap()
}

fn login() -> Option<Credentials> {
    Some(Credentials { username: "relay".to_owned(), password: "s3cret pass\u{f6}".to_owned() })
}

fn with_login(script: Script, mechanisms: &str) -> Script {
    script.login("relay", "s3cret pass\u{f6}", mechanisms)
}

async fn try_with(script: Script, security: Security, login: Option<Credentials>) -> (Vec<String>, ScriptedUpstream) {
    let server = ScriptedUpstream::start(script).await;
    let fates = deliver(&secured(&server, security, login, patient()), mail(&["b@y.test"])).await;
    (fates, server)
}

#[tokio::test]
async fn starttls_and_implicit_tls() {
    let certificate = TestCertificate::new(&["localhost"]);
    let starttls = Script::new().starttls(&certificate);
    let (fates, server) = try_with(starttls, Security::StartTls(trusting(&certificate)), None).await;
    assert_eq!(fates, QUEUED);
    assert!(server.accepted()[0].tls);
    assert_eq!(server.commands()[..3], ["EHLO relay.test", "STARTTLS", "EHLO relay.test"]);
    let implicit = Script::new().implicit_tls(&certificate);
    let (fates, server) = try_with(implicit, Security::Implicit(trusting(&certificate)), None).await;
    assert_eq!(fates, QUEUED);
    assert!(server.accepted()[0].tls);
}

#[tokio::test]
async fn a_kept_tls_connection_is_checked_and_used_again() {
    let certificate = TestCertificate::new(&["localhost"]);
    let server = ScriptedUpstream::start(Script::new().starttls(&certificate)).await;
    let upstream = secured(&server, Security::StartTls(trusting(&certificate)), None, patient());
    for _ in 0..3 {
        assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn inside_tls_all_is_as_outside() {
    let certificate = TestCertificate::new(&["localhost"]);
    let tls = || Security::StartTls(trusting(&certificate));
    // a large mail arrives whole
    let content = b"A line of some length, again and again.\r\n.\r\n".repeat(100_000);
    let server = ScriptedUpstream::start(Script::new().starttls(&certificate)).await;
    let upstream = secured(&server, tls(), None, patient());
    let large = || Outbound::new(envelope(&["b@y.test"]), Bytes::from(content.clone()).into());
    assert_eq!(deliver(&upstream, large()).await, QUEUED);
    assert!(server.accepted()[0].content == content);
    // a refusal in the middle of one is heard
    let refuse = [Act::Default, Act::say("552 5.3.4 too much"), Act::Hang];
    server.change(Script::new().starttls(&certificate).on(At::Content, refuse));
    assert_eq!(deliver(&upstream, large()).await, ["refused at data: 552 5.3.4 too much"]);
    // a connection closed at rest costs nothing
    server.change(Script::new().starttls(&certificate).on_nth(At::Dot, 1, [Act::Default, Act::Close]));
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
    tokio::time::sleep(super::SHORT).await;
    assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, QUEUED);
    assert_eq!(server.connections(), 3);
    // lost after the dot is unknown
    server.change(Script::new().starttls(&certificate).on_nth(At::Dot, 1, [Act::Reset]));
    let fates = deliver(&upstream, mail(&["b@y.test"])).await;
    assert!(fates[0].starts_with("unknown: perhaps delivered: connection lost"), "{fates:?}");
}

#[tokio::test]
async fn a_certificate_that_is_not_right() {
    let good = TestCertificate::new(&["localhost"]);
    let expired = TestCertificate::expired(&["localhost"]);
    let elsewhere = TestCertificate::new(&["mail.example.com"]);
    for (shown, trusted) in
        [(&expired, &expired), (&elsewhere, &elsewhere), (&TestCertificate::new(&["localhost"]), &good)]
    {
        for implicit in [false, true] {
            let tls = trusting(trusted);
            let (script, security) = match implicit {
                true => (Script::new().implicit_tls(shown), Security::Implicit(tls)),
                false => (Script::new().starttls(shown), Security::StartTls(tls)),
            };
            let (fates, server) = try_with(with_login(script, "PLAIN"), security, login()).await;
            assert!(fates[0].starts_with("deferred: TLS failed") && fates[0].ends_with("at tls"), "{fates:?}");
            assert!(!server.commands().iter().any(|c| c.starts_with("AUTH") || c.starts_with("MAIL")));
        }
    }
}

#[tokio::test]
async fn no_starttls_offered_or_starttls_refused() {
    let certificate = TestCertificate::new(&["localhost"]);
    let tls = || Security::StartTls(trusting(&certificate));
    let table = [
        (with_login(Script::new(), "PLAIN"), "deferred: STARTTLS is not offered at tls"),
        (
            with_login(Script::new().starttls(&certificate), "PLAIN").answer(At::StartTls, "", "454 4.7.0 not now"),
            "deferred: 454 4.7.0 not now at tls",
        ),
        // a server that knows no EHLO cannot offer it
        (
            with_login(Script::new(), "PLAIN").answer(At::Ehlo, "", "500 what"),
            "deferred: STARTTLS is not offered at tls",
        ),
    ];
    for (script, expected) in table {
        let (fates, server) = try_with(script, tls(), login()).await;
        assert_eq!(fates, [expected]);
        assert!(!server.commands().iter().any(|c| c.starts_with("AUTH") || c.starts_with("MAIL")));
    }
}

/// RFC 3207 §5: what an attacker puts behind the answer to STARTTLS must not be taken for what comes inside.
#[tokio::test]
async fn plaintext_injected_behind_the_220() {
    let certificate = TestCertificate::new(&["localhost"]);
    let injected = Act::Say(b"220 go\r\n250-evil\r\n250-AUTH PLAIN\r\n250 X\r\n".to_vec());
    let script = with_login(Script::new().starttls(&certificate), "PLAIN").on(At::StartTls, [injected]);
    let (fates, server) = try_with(script, Security::StartTls(trusting(&certificate)), login()).await;
    assert_eq!(fates, ["deferred: plaintext injected behind the answer to STARTTLS at tls"]);
    assert_eq!(server.commands(), ["EHLO relay.test", "STARTTLS"]);
}

/// A goodbye that came with the last answer to EHLO is heard before anything is sent, in the clear and under TLS.
#[tokio::test]
async fn a_421_glued_to_the_last_answer_before_mail() {
    let certificate = TestCertificate::new(&["localhost"]);
    let goodbye = [Act::Say(b"250-upstream.test\r\n250 PIPELINING\r\n421 4.3.2 bye\r\n".to_vec())];
    let rows = [
        (Script::new().on(At::Ehlo, goodbye.clone()), Security::None),
        (
            Script::new().starttls(&certificate).on_nth(At::Ehlo, 2, goodbye.clone()),
            Security::StartTls(trusting(&certificate)),
        ),
        (Script::new().implicit_tls(&certificate).on(At::Ehlo, goodbye), Security::Implicit(trusting(&certificate))),
    ];
    for (script, security) in rows {
        let shown = format!("{security:?}");
        let (fates, server) = try_with(script, security, None).await;
        assert_eq!(fates, ["deferred: 421 4.3.2 bye at mail"], "{shown}");
        assert!(server.mails().is_empty(), "{shown}");
    }
}

#[tokio::test]
async fn keywords_in_small_letters_are_understood() {
    let certificate = TestCertificate::new(&["localhost"]);
    let small = |line: &str| Act::Say(format!("250-upstream.test\r\n250-pipelining\r\n250 {line}\r\n").into_bytes());
    let script = with_login(Script::new().starttls(&certificate), "PLAIN")
        .on_nth(At::Ehlo, 1, [small("starttls")])
        .on_nth(At::Ehlo, 2, [small("auth plain")]);
    let (fates, server) = try_with(script, Security::StartTls(trusting(&certificate)), login()).await;
    assert_eq!(fates, QUEUED);
    assert!(server.accepted()[0].tls && server.accepted()[0].login.is_some());
}

#[tokio::test]
async fn what_was_offered_in_plaintext_is_forgotten() {
    let certificate = TestCertificate::new(&["localhost"]);
    // A login is offered only before TLS: it must not be believed after it.
    let script = Script::new().starttls(&certificate).on_nth(
        At::Ehlo,
        1,
        [Act::Say(b"250-upstream.test\r\n250-AUTH PLAIN\r\n250-SIZE 1\r\n250 STARTTLS\r\n".to_vec())],
    );
    let (fates, _) = try_with(script, Security::StartTls(trusting(&certificate)), login()).await;
    assert_eq!(fates, ["deferred: AUTH PLAIN or LOGIN is not offered at auth"]);
}

#[tokio::test]
async fn logins() {
    let certificate = TestCertificate::new(&["localhost"]);
    for mechanisms in ["PLAIN", "LOGIN", "XOAUTH2 login plain"] {
        let script = with_login(Script::new().starttls(&certificate), mechanisms);
        let (fates, server) = try_with(script, Security::StartTls(trusting(&certificate)), login()).await;
        assert_eq!(fates, QUEUED, "{mechanisms}");
        assert_eq!(server.accepted()[0].login.as_deref(), Some("relay"));
    }
    // a server that takes no initial response
    let script = with_login(Script::new(), "PLAIN")
        .on(At::Auth, [Act::say("334 "), Act::Wait(super::SHORT), Act::say("235 in")]);
    let (fates, _) = try_with(script, Security::None, login()).await;
    assert!(!fates[0].contains("s3cret"), "{fates:?}");
    // wrong password, not now: ours to mend, never the sender's
    for (line, expected) in [
        ("535 5.7.8 wrong", "deferred: 535 5.7.8 wrong at auth"),
        ("454 4.7.0 not now", "deferred: 454 4.7.0 not now at auth"),
        ("334 what", "deferred: a reply out of place, 334 what at auth"),
    ] {
        let script = with_login(Script::new(), "PLAIN").answer(At::Auth, "", line);
        let server = ScriptedUpstream::start(script).await;
        if line.starts_with("334") {
            // the second challenge is answered by silence: the server reads the response as a command
            let fates = deliver(&secured(&server, Security::None, login(), patient()), mail(&["b@y.test"])).await;
            assert_eq!(fates, ["deferred: 500 5.5.2 unrecognized at auth"]);
            continue;
        }
        let fates =
            secured(&server, Security::None, login(), patient()).deliver(mail(&["b@y.test"]), ample()).await.unwrap();
        assert_eq!(said(&fates), [expected]);
        assert!(fates[0].is_our_trouble());
    }
}

#[tokio::test]
async fn opportunistic_tls() {
    let unknown = TestCertificate::new(&["other.example"]);
    let anyone = || Security::Opportunistic(TlsClient::new("localhost", &Roots::Anyone).unwrap());
    // offered: used, whoever the certificate is from; not offered: plaintext
    let (fates, server) = try_with(Script::new().starttls(&unknown), anyone(), None).await;
    assert_eq!((fates.as_slice(), server.accepted()[0].tls), (QUEUED.map(str::to_owned).as_slice(), true));
    let (fates, server) = try_with(Script::new(), anyone(), None).await;
    assert_eq!((fates.as_slice(), server.accepted()[0].tls), (QUEUED.map(str::to_owned).as_slice(), false));
}

#[tokio::test]
async fn a_login_never_leaves_where_others_can_read() {
    use tokio::net::TcpStream;
    use waxseal::deliver::{BoxFuture, Dial, Dialed, Upstream};
    /// As if the server were far away.
    struct Far(std::net::SocketAddr);
    impl Dial for Far {
        fn dial(&self) -> BoxFuture<'_, std::io::Result<Dialed>> {
            Box::pin(async {
                let stream = TcpStream::connect(self.0).await?;
                Ok(Dialed { stream: Box::new(stream), local: false })
            })
        }
        fn name(&self) -> &str {
            "far.test:25"
        }
    }
    let certificate = TestCertificate::new(&["localhost"]);
    let anyone = || TlsClient::new("localhost", &Roots::Anyone).unwrap();
    let offered = || with_login(Script::new().starttls(&certificate), "PLAIN");
    let plain = || with_login(Script::new(), "PLAIN");
    let not_secret = "deferred: the login would have gone over an unprotected connection at auth";
    let table = [
        (plain(), Security::Opportunistic(anyone()), not_secret),
        (plain(), Security::Opportunistic(trusting(&certificate)), not_secret),
        (offered(), Security::Opportunistic(anyone()), not_secret),
        (offered(), Security::Opportunistic(trusting(&certificate)), QUEUED[0]),
        (offered(), Security::StartTls(trusting(&certificate)), QUEUED[0]),
        (offered(), Security::StartTls(anyone()), not_secret),
        (with_login(Script::new().implicit_tls(&certificate), "PLAIN"), Security::Implicit(anyone()), not_secret),
        // said in so many words by the operator
        (plain(), Security::None, QUEUED[0]),
    ];
    for (script, security, expected) in table {
        let shown = format!("{security:?}");
        let server = ScriptedUpstream::start(script).await;
        let upstream = Upstream::new(Far(server.addr()), security, login(), patient());
        assert_eq!(deliver(&upstream, mail(&["b@y.test"])).await, [expected], "{shown}");
        let sent = server.commands().iter().any(|c| c.starts_with("AUTH"));
        assert_eq!(sent, expected == QUEUED[0], "{shown}");
    }
}

#[tokio::test]
async fn a_probe_says_what_upstream_can_do() {
    let certificate = TestCertificate::new(&["localhost"]);
    let server = ScriptedUpstream::start(with_login(Script::new().starttls(&certificate), "PLAIN")).await;
    let upstream = secured(&server, Security::StartTls(trusting(&certificate)), login(), patient());
    let found = upstream.probe(ample().dot_sent_by).await.unwrap();
    assert!(found.pipelining && found.auth_plain && !found.starttls && found.size_bytes == Some(10_000_000));
    let wrong = Some(Credentials { username: "relay".to_owned(), password: "wrong".to_owned() });
    let upstream = secured(&server, Security::StartTls(trusting(&certificate)), wrong, patient());
    let trouble = upstream.probe(ample().dot_sent_by).await.unwrap_err();
    assert_eq!(trouble.to_string(), "535 5.7.8 wrong at auth");
}

#[test]
fn secrets_stay_out_of_debug_output() {
    assert!(!format!("{:?}", login()).contains("s3cret"));
}

#[test]
fn roots_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing here").unwrap();
    let missing = folder.path().join("missing.pem");
    for (host, roots, expected) in [
        ("localhost", Roots::File(empty), "no usable PEM certificate"),
        ("localhost", Roots::File(missing), "missing.pem: "),
        ("not a host", Roots::Anyone, "neither a host name nor an address"),
    ] {
        let error = TlsClient::new(host, &roots).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
