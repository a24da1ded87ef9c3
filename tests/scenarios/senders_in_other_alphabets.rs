//! Addresses beyond ASCII as senders: one's own however it is encoded, and nobody else's however alike it looks.

use super::logins::plain;
use crate::support::client::Client;
use crate::support::relay::{Running, Upstream};

/// Composed and decomposed: the same letters for who reads them, other octets.
const NFC: &str = "jos\u{e9}@example.com";
const NFD: &str = "jose\u{301}@example.com";

fn send(relay: &Running, login: &str, mail_from: &str, from: &str) -> u16 {
    let mut client = Client::connect(relay.smtp).unwrap();
    assert_eq!(client.command(&plain(login, "correct horse")).unwrap().code, 235);
    let reply = client.command(&format!("MAIL FROM:{mail_from}")).unwrap();
    if reply.code != 250 {
        return reply.code;
    }
    assert_eq!(client.command("RCPT TO:<b@ok.test>").unwrap().code, 250);
    assert_eq!(client.command("DATA").unwrap().code, 354);
    client.send(format!("From: {from}\r\nSubject: x\r\n\r\nx\r\n.\r\n").as_bytes()).unwrap();
    client.reply().unwrap().code
}

#[test]
fn alike_is_not_the_same() {
    let orgs = "[[org]]\nname = \"other\"\ndomains = [\"org2.test\", \"b\u{fc}cher.test\"]\n\
        [[org]]\nname = \"idn\"\ndomains = [\"m\u{fc}nchen.test\"]\n";
    let relay = Running::start(Upstream::Inbox, orgs);
    relay.add_user("ana@example.com", "correct horse", "default");
    relay.add_user("uwe@m\u{fc}nchen.test", "correct horse", "idn");
    let (ana, uwe) = ("ana@example.com", "uwe@m\u{fc}nchen.test");
    #[rustfmt::skip]
    let rows = [
        // her own domain: any local part, in either form of its letters, and with the dot of the root
        (ana, format!("<{NFC}> SMTPUTF8"), NFC, 250),
        (ana, format!("<{NFD}> SMTPUTF8"), NFD, 250),
        (ana, format!("<{NFC}> SMTPUTF8"), NFD, 250),
        (ana, "<ana@EXAMPLE.com> SMTPUTF8".to_owned(), ana, 250),
        // an IDN is its A-label, in any case and form
        (uwe, "<uwe@m\u{fc}nchen.test> SMTPUTF8".to_owned(), "uwe@m\u{fc}nchen.test", 250),
        (uwe, "<uwe@xn--mnchen-3ya.test>".to_owned(), "uwe@XN--mnchen-3ya.test", 250),
        (uwe, "<uwe@M\u{dc}NCHEN.test> SMTPUTF8".to_owned(), "uwe@mu\u{308}nchen.test", 250),
        // somebody else's IDN, in each of its forms
        (ana, "<ceo@b\u{fc}cher.test> SMTPUTF8".to_owned(), ana, 553),
        (ana, "<ceo@xn--bcher-kva.test>".to_owned(), ana, 553),
        (ana, "<ana@example.com>".to_owned(), "ceo@bu\u{308}cher.test", 550),
        // letters that look alike: Cyrillic o, fullwidth, a soft hyphen, the ideographic full stop
        (ana, "<ceo@\u{43e}rg2.test> SMTPUTF8".to_owned(), ana, 553),
        (ana, "<ana@ex\u{430}mple.com> SMTPUTF8".to_owned(), ana, 553),
        (ana, "<ceo@\u{ff4f}rg2.test> SMTPUTF8".to_owned(), ana, 553),
        (ana, "<ceo@org2\u{3002}test> SMTPUTF8".to_owned(), ana, 501),
        (uwe, "<uwe@munchen.test>".to_owned(), uwe, 553),
        (uwe, "<uwe@m\u{fc}nch\u{435}n.test> SMTPUTF8".to_owned(), uwe, 553),
        // without SMTPUTF8 no letter beyond ASCII
        (ana, format!("<{NFC}>"), ana, 553),
        // a dot at the end of a domain is no domain of SMTP's (RFC 5321 §2.3.5)
        (ana, "<ana@example.com.>".to_owned(), ana, 501),
        (ana, "<ceo@org2.test.>".to_owned(), ana, 501),
    ];
    for (login, mail_from, from, expected) in rows {
        assert_eq!(send(&relay, login, &mail_from, from), expected, "{login}: {mail_from} {from}");
    }
}
