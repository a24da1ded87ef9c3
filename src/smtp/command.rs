//! One line to one command (RFC 5321 §4.1.1), strictly.
//!
//! **Invariant:** one line, one command. A line that holds a bare CR, a bare LF or NUL is none, so no octet of it can
//! be read as a second command by anyone.

use super::extension::{MailParams, ParamError, RcptParams};
use super::path::{ForwardPath, PathError, ReversePath, split_brackets};
use super::reply::Reply;

/// The first word of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Greeting without extensions.
    Helo,
    /// Greeting.
    Ehlo,
    /// Starts a transaction.
    Mail,
    /// One recipient.
    Rcpt,
    /// The message follows.
    Data,
    /// Drops the transaction.
    Rset,
    /// Nothing.
    Noop,
    /// The end.
    Quit,
    /// Asks for an address.
    Vrfy,
    /// Asks for a list.
    Expn,
    /// Asks for help.
    Help,
    /// TLS (RFC 3207).
    StartTls,
    /// Login (RFC 4954).
    Auth,
    /// CHUNKING's DATA (RFC 3030), which we do not offer.
    Bdat,
    /// A method of HTTP: a browser was led to this port.
    Http,
}

impl Verb {
    /// As it is written; the first of its names where it has several.
    pub fn name(self) -> &'static str {
        VERBS.iter().find(|(_, verb)| *verb == self).map_or("", |(name, _)| name)
    }

    /// The client must await the reply to this one before it sends anything (RFC 2920 §3.1, RFC 3207, RFC 4954).
    pub fn ends_a_group(self) -> bool {
        matches!(self, Verb::Helo | Verb::Ehlo | Verb::Data | Verb::StartTls | Verb::Auth)
    }
}

/// A line divided after its verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The verb.
    pub verb: Verb,
    /// All after it, outer spaces removed.
    pub arguments: &'a [u8],
}

/// Why a line is no command, or a command's arguments are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandError {
    /// No verb we know.
    Unrecognized,
    /// Holds a bare LF.
    BareLf,
    /// Holds NUL or a bare CR.
    Octets,
    /// Arguments missing, or some where none may be; the text is the right form.
    Usage(&'static str),
    /// The path of MAIL.
    Sender(PathError),
    /// The path of RCPT.
    Recipient(PathError),
    /// A parameter.
    Parameter(ParamError),
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Reply {
        match error {
            CommandError::Unrecognized => Reply::unrecognized(),
            CommandError::BareLf => Reply::bare_newline_in_command(),
            CommandError::Octets => Reply::bad_octets(),
            CommandError::Usage(form) => Reply::bad_arguments(form),
            CommandError::Sender(PathError::NotAscii) | CommandError::Recipient(PathError::NotAscii) => {
                Reply::address_not_ascii()
            }
            CommandError::Sender(PathError::Syntax | PathError::TooLong) => Reply::bad_sender_syntax(),
            CommandError::Recipient(PathError::Syntax | PathError::TooLong) => Reply::bad_recipient_syntax(),
            CommandError::Parameter(ParamError::Value) => Reply::bad_parameter(),
            CommandError::Parameter(ParamError::Unknown) => Reply::unknown_parameter(),
        }
    }
}

const VERBS: &[(&str, Verb)] = &[
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("AUTH", Verb::Auth),
    ("STARTTLS", Verb::StartTls),
    ("RSET", Verb::Rset),
    ("NOOP", Verb::Noop),
    ("QUIT", Verb::Quit),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
    ("HELP", Verb::Help),
    ("BDAT", Verb::Bdat),
    ("GET", Verb::Http),
    ("HEAD", Verb::Http),
    ("POST", Verb::Http),
    ("PUT", Verb::Http),
    ("PATCH", Verb::Http),
    ("DELETE", Verb::Http),
    ("OPTIONS", Verb::Http),
    ("CONNECT", Verb::Http),
    ("TRACE", Verb::Http),
    ("PRI", Verb::Http),
];

/// Divides one line (without its CRLF) after the verb.
///
/// # Errors
/// [`CommandError::Unrecognized`], [`CommandError::BareLf`], [`CommandError::Octets`].
pub fn divide(line: &[u8]) -> Result<Line<'_>, CommandError> {
    if memchr::memchr(b'\n', line).is_some() {
        return Err(CommandError::BareLf);
    }
    if memchr::memchr2(b'\r', 0, line).is_some() {
        return Err(CommandError::Octets);
    }
    let word = line.iter().position(|octet| *octet == b' ').unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(word).unwrap_or((line, b""));
    let verb = VERBS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    let (_, verb) = verb.ok_or(CommandError::Unrecognized)?;
    Ok(Line { verb: *verb, arguments: rest.trim_ascii() })
}

/// `DATA`, `RSET`, `QUIT`, `STARTTLS`: nothing may follow.
///
/// # Errors
/// [`CommandError::Usage`].
pub fn no_arguments(arguments: &[u8], form: &'static str) -> Result<(), CommandError> {
    if arguments.is_empty() { Ok(()) } else { Err(CommandError::Usage(form)) }
}

/// Octets of a host name worth keeping.
const HELLO_BYTES_MAX: usize = 255;

/// The name in EHLO or HELO, made printable: clients send what their computer is called, in any charset, and it goes
/// into a `Received:` line. Whatever could mean something there becomes `?`.
///
/// # Errors
/// [`CommandError::Usage`] when there is none.
pub fn hello_name(arguments: &[u8]) -> Result<String, CommandError> {
    let name = arguments.split(|octet| *octet == b' ').next().unwrap_or_default();
    if name.is_empty() {
        return Err(CommandError::Usage("EHLO hostname"));
    }
    let shown = |octet: &u8| match octet {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b':' | b'[' | b']' => char::from(*octet),
        _ => '?',
    };
    Ok(name.iter().take(HELLO_BYTES_MAX).map(shown).collect())
}

/// The arguments of `MAIL FROM:<path> parameters`.
///
/// # Errors
/// [`CommandError`] `Usage`, `Sender` or `Parameter`.
pub fn mail(arguments: &[u8], dsn: bool) -> Result<(ReversePath, MailParams), CommandError> {
    const FORM: CommandError = CommandError::Usage("MAIL FROM:<address>");
    let (path, rest) = path_and_rest(arguments, b"FROM:", FORM)?;
    let params = MailParams::parse(rest, dsn).map_err(CommandError::Parameter)?;
    let path = ReversePath::parse(path, params.smtputf8).map_err(CommandError::Sender)?;
    Ok((path, params))
}

/// The arguments of `RCPT TO:<path> parameters`, within a transaction that has SMTPUTF8 or not.
///
/// # Errors
/// [`CommandError`] `Usage`, `Recipient` or `Parameter`.
pub fn rcpt(arguments: &[u8], smtputf8: bool, dsn: bool) -> Result<(ForwardPath, RcptParams), CommandError> {
    const FORM: CommandError = CommandError::Usage("RCPT TO:<address>");
    let (path, rest) = path_and_rest(arguments, b"TO:", FORM)?;
    let params = RcptParams::parse(rest, dsn).map_err(CommandError::Parameter)?;
    let path = ForwardPath::parse(path, smtputf8).map_err(CommandError::Recipient)?;
    Ok((path, params))
}

/// The mechanism and the initial response of AUTH.
///
/// # Errors
/// [`CommandError::Usage`].
pub fn auth(arguments: &[u8]) -> Result<(&[u8], Option<&[u8]>), CommandError> {
    let mut words = arguments.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    match (words.next(), words.next(), words.next()) {
        (Some(mechanism), initial, None) => Ok((mechanism, initial)),
        _ => Err(CommandError::Usage("AUTH mechanism [initial-response]")),
    }
}

/// `FROM:<path>` or `TO:<path>`. A space after the colon is against the grammar, common, and without danger.
fn path_and_rest<'a>(
    arguments: &'a [u8],
    keyword: &[u8],
    form: CommandError,
) -> Result<(&'a [u8], &'a [u8]), CommandError> {
    let (word, path) = arguments.split_at_checked(keyword.len()).ok_or(form)?;
    if !word.eq_ignore_ascii_case(keyword) {
        return Err(form);
    }
    let (path, rest) = split_brackets(path.trim_ascii_start()).ok_or(form)?;
    if rest.is_empty() || rest.starts_with(b" ") { Ok((path, rest)) } else { Err(form) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Divided<'a> = Result<(Verb, &'a [u8]), CommandError>;
    type PathOrCode<'a> = Result<&'a [u8], u16>;

    #[test]
    fn lines_divide_after_the_verb() {
        #[rustfmt::skip]
        let rows: &[(&[u8], Divided<'_>)] = &[
            (b"NOOP", Ok((Verb::Noop, b""))),
            (b"noop  anything ", Ok((Verb::Noop, b"anything"))),
            (b"mail FROM:<a@b>", Ok((Verb::Mail, b"FROM:<a@b>"))),
            (b"GET / HTTP/1.1", Ok((Verb::Http, b"/ HTTP/1.1"))),
            (b"", Err(CommandError::Unrecognized)),
            (b"NOOPS", Err(CommandError::Unrecognized)),
            (b" NOOP", Err(CommandError::Unrecognized)),
            (b"MAIL\tFROM:<a@b>", Err(CommandError::Unrecognized)),
            // never two commands
            (b"NOOP\nNOOP", Err(CommandError::BareLf)),
            (b"MAIL FROM:<a@x>\rRCPT TO:<b>", Err(CommandError::Octets)),
            (b"MAIL FROM:<a\0@x>", Err(CommandError::Octets)),
        ];
        for (line, expected) in rows {
            assert_eq!(divide(line).map(|l| (l.verb, l.arguments)), *expected, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn mail_arguments() {
        #[rustfmt::skip]
        let rows: &[(&[u8], PathOrCode<'_>)] = &[
            (b"FROM:<>", Ok(b"")),
            (b"from:<a@x.test> SIZE=1", Ok(b"a@x.test")),
            (b"FROM: <a@x.test>", Ok(b"a@x.test")),
            (b"FROM:<\"x@evil.test> NOTIFY=NEVER \"@x.test>", Ok(b"\"x@evil.test> NOTIFY=NEVER \"@x.test")),
            (b"", Err(501)), (b"FROM", Err(501)), (b"FROM:", Err(501)), (b"TO:<a@x.test>", Err(501)),
            (b"FROM:a@x.test", Err(501)), (b"FROM:<a@x.test", Err(501)), (b"FROM:<a@x.test>SIZE=1", Err(501)),
            (b"FROM:<a>", Err(501)), (b"FROM:<a@x.test> SIZE=x", Err(501)), (b"FROM:<a@x.test> X=1", Err(555)),
            (b"FROM:<\xc3\xa4@x.test>", Err(553)), (b"FROM:<\xff@x.test> SMTPUTF8", Err(553)),
            (b"FROM:<\xc3\xa4@x.test> SMTPUTF8", Ok(b"\xc3\xa4@x.test")),
        ];
        for (arguments, expected) in rows {
            let seen = mail(arguments, false).map_err(|e| Reply::from(e).code).map(|(path, _)| match path {
                ReversePath::Null => Vec::new(),
                ReversePath::Mailbox(mailbox) => mailbox.as_bytes().to_vec(),
            });
            assert_eq!(seen, expected.map(<[u8]>::to_vec), "{}", arguments.escape_ascii());
        }
    }

    #[test]
    fn hello_names_are_harmless() {
        #[rustfmt::skip]
        let rows: &[(&[u8], Result<&str, CommandError>)] = &[
            (b"my-pc.local", Ok("my-pc.local")),
            (b"[IPv6:::1]", Ok("[IPv6:::1]")),
            (b"B\xfcro (x);<y>", Ok("B?ro")),
            (b"a(b)\\\"", Ok("a?b???")),
            (b"", Err(CommandError::Usage("EHLO hostname"))),
        ];
        for (arguments, expected) in rows {
            assert_eq!(hello_name(arguments), expected.map(str::to_owned));
        }
        assert_eq!(hello_name(&[b'a'; 999]).map(|name| name.len()), Ok(255));
    }

    #[test]
    fn auth_arguments() {
        assert_eq!(auth(b"PLAIN"), Ok((b"PLAIN".as_slice(), None)));
        assert_eq!(auth(b"PLAIN  AGE="), Ok((b"PLAIN".as_slice(), Some(b"AGE=".as_slice()))));
        assert!(auth(b"").is_err());
        assert!(auth(b"PLAIN a b").is_err());
    }
}
