//! Replies (RFC 5321 §4.2, enhanced codes RFC 3463). Every text we ever send stands in this file.
//!
//! **Invariant:** what [`Reply::to_bytes`] writes is one well-formed reply: one code, printable ASCII, lines of at most
//! 512 octets, whatever the text came from.

/// An enhanced status code such as `5.1.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enhanced(pub u8, pub u16, pub u16);

/// One reply, ours or a peer's: code, enhanced code, lines of text without CRLF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// 200..=599.
    pub code: u16,
    /// First digit equals that of `code`.
    pub enhanced: Option<Enhanced>,
    /// At least one line; no CR, LF or other control octet in any.
    pub lines: Vec<String>,
}

/// A reply line with its code and CRLF (RFC 5321 §4.5.3.1.5).
const LINE_BYTES_MAX: usize = 512;
/// How many lines of an upstream's words we pass on.
const PASSED_LINES_MAX: usize = 10;

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, enhanced: Enhanced, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: Some(enhanced), lines: vec![text.into()] }
    }

    /// An upstream's reply for our client: cleaned, ten lines at most, an enhanced code only where it fits the code.
    /// A code outside 200..=599 is no reply and becomes a 451.
    #[must_use]
    pub fn passed_on(upstream: &Reply) -> Reply {
        let Some(class) = u8::try_from(upstream.code / 100).ok().filter(|class| (2..=5).contains(class)) else {
            return Reply::upstream_unclear();
        };
        let mut lines: Vec<String> = upstream.lines.iter().take(PASSED_LINES_MAX).map(|line| clean(line)).collect();
        if lines.is_empty() {
            lines.push(String::new());
        }
        Reply { code: upstream.code, enhanced: upstream.enhanced.filter(|e| e.0 == class), lines }
    }

    /// Positive completion.
    pub fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// 4yz: try again later.
    pub fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// 5yz: will not work however often it is tried.
    pub fn is_permanent(&self) -> bool {
        (500..600).contains(&self.code)
    }

    /// The reply on the wire, with CRLF line ends; lines over 512 octets are cut.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(64 * self.lines.len().max(1));
        let none = [String::new()];
        let lines = if self.lines.is_empty() { none.as_slice() } else { self.lines.as_slice() };
        let last = lines.len() - 1;
        for (at, line) in lines.iter().enumerate() {
            let mark = if at == last { ' ' } else { '-' };
            let mut text = match self.enhanced {
                Some(Enhanced(class, subject, detail)) => {
                    format!("{:03}{mark}{class}.{subject}.{detail} {}", self.code, clean(line))
                }
                None => format!("{:03}{mark}{}", self.code, clean(line)),
            };
            text.truncate(LINE_BYTES_MAX - 2); // all ASCII by now
            wire.extend_from_slice(text.as_bytes());
            wire.extend_from_slice(b"\r\n");
        }
        wire
    }
}

/// Printable ASCII as it is, white space as a space, anything else as `?`.
fn clean(text: &str) -> String {
    let shown = |c: char| match c {
        ' '..='~' => c,
        '\t' | '\r' | '\n' => ' ',
        _ => '?',
    };
    text.chars().map(shown).collect()
}

/// The texts. Named by meaning; the section or row they follow is in the comment.
impl Reply {
    /// The banner (RFC 5321 §4.3.1).
    pub fn banner(hostname: &str) -> Reply {
        Reply { code: 220, enhanced: None, lines: vec![format!("{hostname} ESMTP waxseal")] }
    }

    /// To HELO.
    pub fn hello(hostname: &str) -> Reply {
        Reply { code: 250, enhanced: None, lines: vec![hostname.to_owned()] }
    }

    /// To EHLO: the host and its keywords (RFC 5321 §4.1.1.1).
    pub fn extended_hello(hostname: &str, keywords: Vec<String>) -> Reply {
        let lines = std::iter::once(hostname.to_owned()).chain(keywords).collect();
        Reply { code: 250, enhanced: None, lines }
    }

    /// To RSET and NOOP.
    pub fn ok() -> Reply {
        Reply::new(250, Enhanced(2, 0, 0), "OK")
    }

    /// To MAIL.
    pub fn sender_ok() -> Reply {
        Reply::new(250, Enhanced(2, 1, 0), "Sender OK")
    }

    /// To RCPT.
    pub fn recipient_ok() -> Reply {
        Reply::new(250, Enhanced(2, 1, 5), "Recipient OK")
    }

    /// To DATA.
    pub fn go_ahead() -> Reply {
        Reply { code: 354, enhanced: None, lines: vec!["End data with <CR><LF>.<CR><LF>".to_owned()] }
    }

    /// To the final dot: the mail is ours.
    pub fn accepted(id: &str) -> Reply {
        Reply::new(250, Enhanced(2, 0, 0), format!("OK, accepted as {id}"))
    }

    /// To QUIT.
    pub fn bye() -> Reply {
        Reply::new(221, Enhanced(2, 0, 0), "Bye")
    }

    /// To VRFY (RFC 5321 §7.3 asks for it).
    pub fn cannot_verify() -> Reply {
        Reply::new(252, Enhanced(2, 5, 2), "Send the mail and see")
    }

    /// To HELP.
    pub fn help() -> Reply {
        Reply::new(214, Enhanced(2, 0, 0), "RFC 5321 and RFC 6409; this is a submission server")
    }

    /// To STARTTLS (RFC 3207 §4).
    pub fn ready_for_tls() -> Reply {
        Reply::new(220, Enhanced(2, 0, 0), "Ready to start TLS")
    }

    /// STARTTLS where there is none, or twice.
    pub fn tls_not_available() -> Reply {
        Reply::new(502, Enhanced(5, 5, 1), "STARTTLS is not available here")
    }

    /// STARTTLS under TLS.
    pub fn tls_already_active() -> Reply {
        Reply::new(503, Enhanced(5, 5, 1), "TLS is already active")
    }

    /// A SASL challenge (RFC 4954 §4); `base64` may be empty.
    pub fn challenge(base64: &str) -> Reply {
        Reply { code: 334, enhanced: None, lines: vec![base64.to_owned()] }
    }

    /// The login is good.
    pub fn welcome() -> Reply {
        Reply::new(235, Enhanced(2, 7, 0), "Authentication successful")
    }

    /// The login is not good; never says which half of it.
    pub fn bad_credentials() -> Reply {
        Reply::new(535, Enhanced(5, 7, 8), "Authentication failed")
    }

    /// The password is the account's own, and the account has a second factor.
    pub fn app_password_needed() -> Reply {
        let words = "This account has a second factor: log in with an app password, made in the dashboard";
        Reply::new(535, Enhanced(5, 7, 8), words)
    }

    /// The login could not be judged now.
    pub fn login_unavailable() -> Reply {
        Reply::new(454, Enhanced(4, 7, 0), "Authentication is not available at the moment, try again later")
    }

    /// Too many wrong passwords for this login from there, or from that address at all; not looked at.
    pub fn login_later(wait_secs: u64) -> Reply {
        let minutes = wait_secs.div_ceil(60).max(1);
        Reply::new(454, Enhanced(4, 7, 0), format!("Too many failed logins, try again in {minutes} min"))
    }

    /// The client took its AUTH back, or sent nothing.
    pub fn login_cancelled() -> Reply {
        Reply::new(501, Enhanced(5, 7, 0), "Authentication cancelled")
    }

    /// What came is not base64 or not the mechanism's form.
    pub fn login_malformed() -> Reply {
        Reply::new(501, Enhanced(5, 5, 2), "Cannot decode this authentication response")
    }

    /// A mechanism we do not have.
    pub fn mechanism_unknown() -> Reply {
        Reply::new(504, Enhanced(5, 5, 4), "Unrecognized authentication mechanism")
    }

    /// AUTH on a listener where there are no logins.
    pub fn login_not_offered() -> Reply {
        Reply::new(502, Enhanced(5, 5, 1), "Authentication is not available here")
    }

    /// AUTH a second time, or inside a transaction (RFC 4954 §4).
    pub fn login_not_now() -> Reply {
        Reply::new(503, Enhanced(5, 5, 1), "AUTH is not allowed now")
    }

    /// AUTH before TLS.
    pub fn login_needs_tls() -> Reply {
        Reply::new(538, Enhanced(5, 7, 11), "Encryption required for authentication, use STARTTLS first")
    }

    /// A password typed wrong too often on one connection.
    pub fn too_many_logins() -> Reply {
        Reply::new(421, Enhanced(4, 7, 0), "Too many failed logins, closing")
    }

    /// Mail commands without a login.
    pub fn login_required() -> Reply {
        Reply::new(530, Enhanced(5, 7, 0), "Authentication required")
    }

    /// Mail commands without a login, where a login needs TLS first.
    pub fn tls_required() -> Reply {
        Reply::new(530, Enhanced(5, 7, 0), "Authentication required: issue STARTTLS, then AUTH")
    }

    /// The login may not use this reverse path.
    pub fn sender_not_yours() -> Reply {
        Reply::new(553, Enhanced(5, 7, 1), "You may not send from this address")
    }

    /// MAIL, AUTH before EHLO.
    pub fn hello_first() -> Reply {
        Reply::new(503, Enhanced(5, 5, 1), "Send EHLO first")
    }

    /// RCPT or DATA before MAIL.
    pub fn sender_first() -> Reply {
        Reply::new(503, Enhanced(5, 5, 1), "Send MAIL first")
    }

    /// MAIL inside a transaction.
    pub fn nested_mail() -> Reply {
        Reply::new(503, Enhanced(5, 5, 1), "A mail transaction is already open")
    }

    /// DATA without a recipient (RFC 5321 §3.3).
    pub fn no_recipients() -> Reply {
        Reply::new(554, Enhanced(5, 5, 1), "No valid recipients")
    }

    /// RCPT over the limit (RFC 5321 §4.5.3.1.10).
    pub fn too_many_recipients() -> Reply {
        Reply::new(452, Enhanced(4, 5, 3), "Too many recipients, send to the others in another transaction")
    }

    /// A reverse path that is none.
    pub fn bad_sender_syntax() -> Reply {
        Reply::new(501, Enhanced(5, 1, 7), "Bad sender address syntax")
    }

    /// A forward path that is none.
    pub fn bad_recipient_syntax() -> Reply {
        Reply::new(501, Enhanced(5, 1, 3), "Bad recipient address syntax")
    }

    /// Non-ASCII address without SMTPUTF8, or not UTF-8 with it (RFC 6531 §3.5).
    pub fn address_not_ascii() -> Reply {
        Reply::new(553, Enhanced(5, 6, 7), "Non-ASCII address: needs SMTPUTF8 and valid UTF-8")
    }

    /// SIZE over the limit at MAIL, or the message itself at its end (RFC 1870 §6).
    pub fn message_too_large() -> Reply {
        Reply::new(552, Enhanced(5, 3, 4), "Message is too large")
    }

    /// No memory left for another message, in all or of one sender's.
    pub fn no_room() -> Reply {
        Reply::new(452, Enhanced(4, 3, 1), "Too much mail at once, try again when some of it has gone out")
    }

    /// A message with a bare CR or LF where those are refused.
    pub fn bare_newline_in_data() -> Reply {
        Reply::new(550, Enhanced(5, 5, 2), "Message contains bare CR or LF; lines end with CR LF")
    }

    /// A verb we do not know.
    pub fn unrecognized() -> Reply {
        Reply::new(500, Enhanced(5, 5, 2), "Command not recognized")
    }

    /// A bare LF within a command line.
    pub fn bare_newline_in_command() -> Reply {
        Reply::new(500, Enhanced(5, 5, 2), "Bare LF in a command; lines end with CR LF")
    }

    /// NUL or bare CR within a command line.
    pub fn bad_octets() -> Reply {
        Reply::new(501, Enhanced(5, 5, 2), "NUL or bare CR in a command")
    }

    /// A command we know and do not do.
    pub fn not_implemented() -> Reply {
        Reply::new(502, Enhanced(5, 5, 1), "Command not implemented")
    }

    /// A command line that is too long.
    pub fn line_too_long() -> Reply {
        Reply::new(500, Enhanced(5, 5, 6), "Line too long")
    }

    /// A verb with arguments it must not have, or without those it needs.
    pub fn bad_arguments(usage: &str) -> Reply {
        Reply::new(501, Enhanced(5, 5, 4), format!("Syntax: {usage}"))
    }

    /// A known parameter with a bad value, or twice.
    pub fn bad_parameter() -> Reply {
        Reply::new(501, Enhanced(5, 5, 4), "Bad parameter value")
    }

    /// A parameter we do not know (RFC 5321 §4.1.1.11).
    pub fn unknown_parameter() -> Reply {
        Reply::new(555, Enhanced(5, 5, 4), "Parameter not recognized or not implemented")
    }

    /// Octets sent where the client had to wait for our reply (RFC 2920 §3.1).
    pub fn synchronization() -> Reply {
        Reply::new(554, Enhanced(5, 5, 0), "SMTP protocol synchronization error")
    }

    /// Octets that never end in CRLF.
    pub fn flood() -> Reply {
        Reply::new(421, Enhanced(4, 5, 2), "Line far too long, closing")
    }

    /// A browser, or TLS where none was started.
    pub fn not_smtp() -> Reply {
        Reply::new(421, Enhanced(4, 5, 2), "This is an SMTP server, closing")
    }

    /// Too many refused commands.
    pub fn too_many_errors() -> Reply {
        Reply::new(421, Enhanced(4, 7, 0), "Too many errors, closing")
    }

    /// No connection slot left, before the banner.
    pub fn too_many_connections() -> Reply {
        Reply::new(421, Enhanced(4, 7, 0), "Too many connections, try again later")
    }

    /// The client said nothing for too long.
    pub fn timed_out() -> Reply {
        Reply::new(421, Enhanced(4, 4, 2), "Timeout, closing")
    }

    /// We stop.
    pub fn shutting_down() -> Reply {
        Reply::new(421, Enhanced(4, 3, 2), "Shutting down, try again later")
    }

    /// The message's own From (or Sender) is somebody else's; `why` says which field.
    pub fn header_not_yours(why: &str) -> Reply {
        Reply::new(550, Enhanced(5, 7, 1), why)
    }

    /// The first line of the mail belongs to no header field.
    pub fn begins_folded() -> Reply {
        Reply::new(
            554,
            Enhanced(5, 6, 0),
            "The first line of this mail begins with a blank and belongs to no header field",
        )
    }

    /// The mail has been through too many servers (RFC 5321 §6.3).
    pub fn mail_loop() -> Reply {
        Reply::new(554, Enhanced(5, 4, 6), "Too many hops: this mail goes in circles")
    }

    /// A sender's allowance is used up: what of (`20 mails`, `to 50 recipients`), within what, and when there is room again.
    pub fn allowance_used(what: &str, window: &str, wait_secs: u64) -> Reply {
        let minutes = wait_secs.div_ceil(60).max(1);
        let text = format!("You may send {what} within {window}; try again in {minutes} min");
        Reply::new(450, Enhanced(4, 7, 1), text)
    }

    /// A 250 would need the disk, and the disk is full.
    pub fn spool_full() -> Reply {
        Reply::new(452, Enhanced(4, 3, 1), "No room to keep this mail, try again later")
    }

    /// Some recipients have the mail or never will; the client keeps it for the others and sends it again.
    pub fn rest_is_yours(left: usize, recipients: usize) -> Reply {
        let text = format!("{left} of {recipients} recipients could not be served now, send again later");
        Reply::new(451, Enhanced(4, 4, 0), text)
    }

    /// The organisation's own upstream is no longer configured.
    pub fn no_upstream() -> Reply {
        Reply::new(
            451,
            Enhanced(4, 3, 5),
            "There is no outgoing server for you just now; your administrator has been told",
        )
    }

    /// Our own fault; the mail was not taken.
    pub fn internal_error() -> Reply {
        Reply::new(451, Enhanced(4, 3, 0), "Local error, try again later")
    }

    /// What upstream said is no SMTP reply.
    pub fn upstream_unclear() -> Reply {
        Reply::new(451, Enhanced(4, 4, 0), "The outgoing server gave an unclear answer, try again later")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        String::from_utf8(reply.to_bytes()).expect("replies are ASCII")
    }

    #[test]
    fn on_the_wire() {
        let many = Reply { code: 250, enhanced: None, lines: vec!["a".into(), "b".into(), "c".into()] };
        let words = Reply { code: 550, enhanced: Some(Enhanced(5, 7, 1)), lines: vec!["one".into(), "two".into()] };
        let rows: &[(Reply, &str)] = &[
            (Reply::sender_first(), "503 5.5.1 Send MAIL first\r\n"),
            // only the last line has a space after the code
            (many, "250-a\r\n250-b\r\n250 c\r\n"),
            // the enhanced code stands on every line (RFC 2034 §4)
            (words, "550-5.7.1 one\r\n550 5.7.1 two\r\n"),
            (Reply::challenge(""), "334 \r\n"),
            (Reply { code: 354, enhanced: None, lines: vec![] }, "354 \r\n"),
        ];
        for (reply, expected) in rows {
            assert_eq!(wire(reply), *expected);
        }
    }

    #[test]
    fn foreign_words_cannot_leave_their_line() {
        let reply = Reply::new(550, Enhanced(5, 1, 1), "no\r\n250 yes\u{0}\u{85}é\tend");
        assert_eq!(wire(&reply), "550 5.1.1 no  250 yes??? end\r\n");
        let long = Reply::new(550, Enhanced(5, 1, 1), "é".repeat(2000));
        assert_eq!(wire(&long).len(), LINE_BYTES_MAX);
    }

    #[test]
    fn an_upstreams_reply_is_passed_on_cleaned() {
        let upstream = Reply { code: 550, enhanced: Some(Enhanced(4, 1, 1)), lines: vec!["x\u{7}".into(); 30] };
        let passed = Reply::passed_on(&upstream);
        assert_eq!(passed.lines, vec!["x?"; 10]);
        assert_eq!(passed.enhanced, None, "a code of another class says nothing");
        assert_eq!(Reply::passed_on(&Reply { code: 999, enhanced: None, lines: vec![] }).code, 451);
    }
}
