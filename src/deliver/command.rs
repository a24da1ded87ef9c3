//! The commands we send, as octets. Pure.
//!
//! **Invariant:** one command is one line. Paths leave as the octets that came in, and an envelope with an octet that
//! could end a line gives no command at all: the parser lets none in, and this is the last place to look.

use crate::message::Recipient;
use crate::smtp::ReversePath;
use crate::smtp::extension::{MailParams, Notify, Ret};

use super::capabilities::Capabilities;
use super::outbound::{Needs, Outbound};

/// `MAIL FROM` with the parameters upstream offers. `bare` leaves out those the mail can do without: SIZE, RET, ENVID.
pub(super) fn mail(outbound: &Outbound, needs: Needs, upstream: &Capabilities, bare: bool) -> Option<Vec<u8>> {
    let mut line = b"MAIL FROM:<".to_vec();
    if let ReversePath::Mailbox(mailbox) = &outbound.envelope.reverse_path {
        line.extend_from_slice(mailbox.as_bytes());
    }
    line.push(b'>');
    if needs.eight_bit && upstream.eight_bit_mime {
        line.extend_from_slice(b" BODY=8BITMIME");
    }
    if needs.smtputf8 && upstream.smtputf8 {
        line.extend_from_slice(b" SMTPUTF8");
    }
    if !bare {
        optional_mail_params(&mut line, &outbound.envelope.params, needs, upstream);
    }
    one_line(line)
}

/// Whether [`mail`] has anything to leave out.
pub(super) fn mail_has_options(outbound: &Outbound, upstream: &Capabilities) -> bool {
    let params = &outbound.envelope.params;
    upstream.size_bytes.is_some() || (upstream.dsn && (params.ret.is_some() || params.envid.is_some()))
}

fn optional_mail_params(line: &mut Vec<u8>, params: &MailParams, needs: Needs, upstream: &Capabilities) {
    if upstream.size_bytes.is_some() {
        line.extend_from_slice(format!(" SIZE={}", needs.size_bytes).as_bytes());
    }
    if !upstream.dsn {
        return;
    }
    match params.ret {
        Some(Ret::Full) => line.extend_from_slice(b" RET=FULL"),
        Some(Ret::Hdrs) => line.extend_from_slice(b" RET=HDRS"),
        None => {}
    }
    if let Some(envid) = &params.envid {
        line.extend_from_slice(b" ENVID=");
        line.extend_from_slice(envid.as_bytes());
    }
}

/// `RCPT TO`, with NOTIFY and ORCPT when upstream has DSN and `bare` is false.
pub(super) fn rcpt(recipient: &Recipient, upstream: &Capabilities, bare: bool) -> Option<Vec<u8>> {
    let mut line = b"RCPT TO:<".to_vec();
    line.extend_from_slice(recipient.path.0.as_bytes());
    line.push(b'>');
    if upstream.dsn && !bare {
        if let Some(notify) = recipient.params.notify {
            line.extend_from_slice(b" NOTIFY=");
            line.extend_from_slice(notify_words(notify).as_bytes());
        }
        if let Some(orcpt) = &recipient.params.orcpt {
            line.extend_from_slice(b" ORCPT=");
            line.extend_from_slice(orcpt.as_bytes());
        }
    }
    one_line(line)
}

/// Whether [`rcpt`] has anything to leave out.
pub(super) fn rcpt_has_options(recipient: &Recipient, upstream: &Capabilities) -> bool {
    upstream.dsn && (recipient.params.notify.is_some() || recipient.params.orcpt.is_some())
}

fn notify_words(notify: Notify) -> String {
    let words = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let named: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    if named.is_empty() { "NEVER".to_owned() } else { named.join(",") }
}

fn one_line(mut line: Vec<u8>) -> Option<Vec<u8>> {
    if line.iter().any(u8::is_ascii_control) {
        return None;
    }
    line.extend_from_slice(b"\r\n");
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{Body, Envelope};
    use crate::smtp::ForwardPath;
    use crate::smtp::extension::{BodyType, RcptParams};

    fn outbound(from: &[u8], params: MailParams) -> Outbound {
        let reverse_path = ReversePath::parse(from, true).unwrap();
        Outbound::new(Envelope { reverse_path, params, recipients: Vec::new() }, Body::default())
    }

    fn recipient(to: &[u8], params: RcptParams) -> Recipient {
        Recipient { path: ForwardPath::parse(to, true).unwrap(), params }
    }

    fn everything() -> Capabilities {
        Capabilities { size_bytes: Some(0), eight_bit_mime: true, smtputf8: true, dsn: true, ..Capabilities::default() }
    }

    #[test]
    fn mail_lines() {
        let dsn = MailParams { ret: Some(Ret::Hdrs), envid: Some("a+2Bb".into()), ..Default::default() };
        let declared =
            MailParams { size_bytes: Some(9), body: BodyType::EightBitMime, smtputf8: true, ..Default::default() };
        let plain = Needs { size_bytes: 7, eight_bit: false, smtputf8: false };
        let eight = Needs { size_bytes: 7, eight_bit: true, smtputf8: true };
        let table: &[(Outbound, Needs, Capabilities, bool, &str)] = &[
            // nothing offered, nothing said; the null path
            (outbound(b"a@x.test", dsn.clone()), plain, Capabilities::default(), false, "MAIL FROM:<a@x.test>\r\n"),
            (outbound(b"", MailParams::default()), plain, everything(), false, "MAIL FROM:<> SIZE=7\r\n"),
            // what the content needs is said, not what the client declared
            (outbound(b"a@x.test", declared), plain, everything(), false, "MAIL FROM:<a@x.test> SIZE=7\r\n"),
            (
                outbound("ü@x.test".as_bytes(), MailParams::default()),
                eight,
                everything(),
                false,
                "MAIL FROM:<ü@x.test> BODY=8BITMIME SMTPUTF8 SIZE=7\r\n",
            ),
            // ENVID leaves as it came, encoded once; bare keeps only what is needed
            (
                outbound(b"a@x.test", dsn.clone()),
                eight,
                everything(),
                false,
                "MAIL FROM:<a@x.test> BODY=8BITMIME SMTPUTF8 SIZE=7 RET=HDRS ENVID=a+2Bb\r\n",
            ),
            (outbound(b"a@x.test", dsn), eight, everything(), true, "MAIL FROM:<a@x.test> BODY=8BITMIME SMTPUTF8\r\n"),
        ];
        for (outbound, needs, upstream, bare, expected) in table {
            let line = mail(outbound, *needs, upstream, *bare).map(|l| String::from_utf8(l).unwrap());
            assert_eq!(line.as_deref(), Some(*expected));
        }
    }

    #[test]
    fn rcpt_lines() {
        let notify =
            |success, failure, delay| RcptParams { notify: Some(Notify { success, failure, delay }), orcpt: None };
        let table: &[(Recipient, Capabilities, bool, &str)] = &[
            (
                recipient(b"b@y.test", notify(true, false, true)),
                everything(),
                false,
                "RCPT TO:<b@y.test> NOTIFY=SUCCESS,DELAY\r\n",
            ),
            (
                recipient(b"b@y.test", notify(false, false, false)),
                everything(),
                false,
                "RCPT TO:<b@y.test> NOTIFY=NEVER\r\n",
            ),
            (recipient(b"b@y.test", notify(false, true, false)), everything(), true, "RCPT TO:<b@y.test>\r\n"),
            (
                recipient(b"b@y.test", notify(false, true, false)),
                Capabilities::default(),
                false,
                "RCPT TO:<b@y.test>\r\n",
            ),
            // a quoted local part that reads like a parameter stays one path
            (
                recipient(b"\"x@evil.test> NOTIFY=NEVER \"@ok.test", RcptParams::default()),
                everything(),
                false,
                "RCPT TO:<\"x@evil.test> NOTIFY=NEVER \"@ok.test>\r\n",
            ),
        ];
        for (recipient, upstream, bare, expected) in table {
            let line = rcpt(recipient, upstream, *bare).map(|l| String::from_utf8(l).unwrap());
            assert_eq!(line.as_deref(), Some(*expected));
        }
    }

    #[test]
    fn no_octet_ends_a_line_early() {
        let evil = "rfc822;b@y.test\r\nRCPT TO:<evil@z.test>";
        let params = RcptParams { notify: None, orcpt: Some(evil.into()) };
        assert_eq!(rcpt(&recipient(b"b@y.test", params), &everything(), false), None);
        let params = MailParams { envid: Some("a\nb".into()), ..Default::default() };
        let needs = Needs { size_bytes: 0, eight_bit: false, smtputf8: false };
        assert_eq!(mail(&outbound(b"a@x.test", params), needs, &everything(), false), None);
    }
}
