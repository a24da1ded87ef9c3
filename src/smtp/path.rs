//! Reverse and forward paths (RFC 5321 §4.1.2), kept as the octets the peer sent.
//!
//! **Invariant:** what was accepted is what is sent on. A quoted local part stays quoted, case stays, nothing is
//! decoded and re-encoded: `<"x@evil.test> NOTIFY=NEVER "@ok.test>` has the domain `ok.test` here and on the wire.

/// A mailbox as the peer wrote it: raw octets `local@domain`, without angle brackets and without a source route.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Mailbox {
    raw: Box<[u8]>,
    /// Where the `@` that divides local part and domain stands; `raw.len()` when there is no domain (`postmaster`).
    at: usize,
}

/// Where failures go: `<>` or a mailbox (RFC 5321 §4.5.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `MAIL FROM:<>`
    Null,
    /// `MAIL FROM:<mailbox>`
    Mailbox(Mailbox),
}

/// One recipient: `RCPT TO:<mailbox>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ForwardPath(pub Mailbox);

/// Why octets are not a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathError {
    /// Not the grammar of RFC 5321 §4.1.2 (and RFC 6531 where UTF-8 is allowed).
    Syntax,
    /// Octets above 127 without SMTPUTF8, or not valid UTF-8 with it.
    NotAscii,
    /// Local part over 64 octets or path over 254 (RFC 5321 §4.5.3.1; we allow the local part 128, as real mail does).
    TooLong,
}

/// Octets of a local part as it stands between the quotes or dots, without `@`.
const LOCAL_BYTES_MAX: usize = 128;
/// Octets of a path between the angle brackets (RFC 5321 §4.5.3.1.3: 256 with them).
const PATH_BYTES_MAX: usize = 254;
/// Octets of one label of a domain (RFC 1035 §2.3.4).
const LABEL_BYTES_MAX: usize = 63;
/// What IDNA reads as a full stop: in a domain they would make what we judge differ from what a resolver asks for.
const OTHER_DOTS: [char; 3] = ['\u{3002}', '\u{ff0e}', '\u{ff61}'];

impl Mailbox {
    /// Reads what stands between the angle brackets: a mailbox, `postmaster`, or a source route and a mailbox.
    /// The route is dropped, as RFC 5321 §4.1.1.3 asks: `@ok.test:b@evil.test` is `b@evil.test`.
    ///
    /// # Errors
    /// [`PathError`]; non-ASCII octets are allowed only with `smtputf8` and only as valid UTF-8.
    pub fn parse(raw: &[u8], smtputf8: bool) -> Result<Mailbox, PathError> {
        if !raw.is_ascii() && (!smtputf8 || std::str::from_utf8(raw).is_err()) {
            return Err(PathError::NotAscii);
        }
        let raw = without_route(raw)?;
        if raw.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if raw.eq_ignore_ascii_case(b"postmaster") {
            return Ok(Mailbox { at: raw.len(), raw: raw.into() });
        }
        let at = local_bytes(raw)?;
        let (Some(b'@'), Some(domain)) = (raw.get(at), raw.get(at + 1..)) else {
            return Err(PathError::Syntax);
        };
        if at > LOCAL_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if domain_bytes(domain)? != domain.len() {
            return Err(PathError::Syntax);
        }
        Ok(Mailbox { raw: raw.into(), at })
    }

    /// The octets, exactly as received.
    pub fn as_bytes(&self) -> &[u8] {
        &self.raw
    }

    /// The local part with its quotes, as received.
    pub fn local(&self) -> &[u8] {
        self.raw.get(..self.at).unwrap_or_default()
    }

    /// The domain or address literal, as received; empty for `postmaster`.
    pub fn domain(&self) -> &[u8] {
        self.raw.get(self.at + 1..).unwrap_or_default()
    }

    /// The address for people, lossy where it is not UTF-8.
    pub fn display(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

impl ReversePath {
    /// Reads what stands between the angle brackets of MAIL FROM; nothing is `<>`.
    ///
    /// # Errors
    /// [`PathError`]; a sender needs a domain, so a bare `postmaster` is a syntax error here.
    pub fn parse(raw: &[u8], smtputf8: bool) -> Result<ReversePath, PathError> {
        if raw.is_empty() {
            return Ok(ReversePath::Null);
        }
        let mailbox = Mailbox::parse(raw, smtputf8)?;
        if mailbox.domain().is_empty() { Err(PathError::Syntax) } else { Ok(ReversePath::Mailbox(mailbox)) }
    }
}

impl ForwardPath {
    /// Reads what stands between the angle brackets of RCPT TO.
    ///
    /// # Errors
    /// [`PathError`]; `<>` is a syntax error.
    pub fn parse(raw: &[u8], smtputf8: bool) -> Result<ForwardPath, PathError> {
        Mailbox::parse(raw, smtputf8).map(ForwardPath)
    }
}

/// Divides `<path> rest` at the bracket that closes the path, not at one inside a quoted local part.
pub(super) fn split_brackets(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"<")?;
    let mut quoted = false;
    let mut octets = inner.iter().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                octets.next();
            }
            b'>' if !quoted => return Some((inner.get(..at)?, inner.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

/// Drops `@one,@two:` (RFC 5321 §4.1.2, A-d-l).
fn without_route(raw: &[u8]) -> Result<&[u8], PathError> {
    let mut rest = raw;
    while let Some(after) = rest.strip_prefix(b"@") {
        let (domain, tail) = after.split_at_checked(domain_bytes(after)?).ok_or(PathError::Syntax)?;
        match tail {
            [b':', mailbox @ ..] if !domain.is_empty() => return Ok(mailbox),
            [b',', next @ ..] if next.starts_with(b"@") => rest = next,
            _ => return Err(PathError::Syntax),
        }
    }
    Ok(rest)
}

/// How many octets at the start are a local part.
fn local_bytes(raw: &[u8]) -> Result<usize, PathError> {
    let length = match raw.first() {
        Some(b'"') => quoted_bytes(raw)?,
        // Dots may stand anywhere: `a..b@` and `a.@` are against the grammar and yet real mailboxes, which upstream knows.
        _ => raw.iter().take_while(|octet| is_atext(**octet) || **octet == b'.').count(),
    };
    let local = raw.get(..length).unwrap_or_default();
    if length == 0 || !is_visible(local) { Err(PathError::Syntax) } else { Ok(length) }
}

/// Length of a quoted string with both quotes (RFC 5321 §4.1.2, Quoted-string).
fn quoted_bytes(raw: &[u8]) -> Result<usize, PathError> {
    let mut octets = raw.iter().enumerate().skip(1);
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => return Ok(at + 1),
            b'\\' => match octets.next() {
                Some((_, 0x20..=0x7e)) => {}
                _ => return Err(PathError::Syntax),
            },
            0x20..=0x7e | 0x80.. => {}
            _ => return Err(PathError::Syntax),
        }
    }
    Err(PathError::Syntax)
}

/// How many octets at the start are a domain or an address literal.
fn domain_bytes(raw: &[u8]) -> Result<usize, PathError> {
    if raw.first() == Some(&b'[') {
        return literal_bytes(raw);
    }
    let length = raw.iter().take_while(|octet| is_label(**octet) || **octet == b'.').count();
    let domain = raw.get(..length).unwrap_or_default();
    if domain.split(|octet| *octet == b'.').any(|label| label.len() > LABEL_BYTES_MAX) {
        return Err(PathError::TooLong);
    }
    let labels_ok = domain
        .split(|octet| *octet == b'.')
        .all(|label| !label.is_empty() && !label.starts_with(b"-") && !label.ends_with(b"-"));
    let dots_ok = !String::from_utf8_lossy(domain).contains(OTHER_DOTS);
    if labels_ok && dots_ok && is_visible(domain) { Ok(length) } else { Err(PathError::Syntax) }
}

/// Length of `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3); no other kind is in use.
fn literal_bytes(raw: &[u8]) -> Result<usize, PathError> {
    let end = raw.iter().position(|octet| *octet == b']').ok_or(PathError::Syntax)?;
    let text = raw.get(1..end).and_then(|inner| std::str::from_utf8(inner).ok()).ok_or(PathError::Syntax)?;
    let is_v6 =
        |tag: &str, address: &str| tag.eq_ignore_ascii_case("ipv6") && address.parse::<std::net::Ipv6Addr>().is_ok();
    let ok = match text.split_once(':') {
        Some((tag, address)) => is_v6(tag, address),
        None => text.parse::<std::net::Ipv4Addr>().is_ok(),
    };
    if ok { Ok(end + 1) } else { Err(PathError::Syntax) }
}

/// `atext` (RFC 5322 §3.2.3), and octets of UTF-8.
fn is_atext(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet >= 0x80 || b"!#$%&'*+-/=?^_`{|}~".contains(&octet)
}

/// Letters, digits, hyphen; the underscore because real hosts have it; octets of UTF-8.
fn is_label(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet >= 0x80 || octet == b'-' || octet == b'_'
}

/// Holds no control character and no space but the ASCII one (which only a quoted string lets in).
fn is_visible(octets: &[u8]) -> bool {
    String::from_utf8_lossy(octets).chars().all(|c| c == ' ' || !(c.is_control() || c.is_whitespace()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Halves<'a> = Result<(&'a str, &'a str), PathError>;

    fn check(raw: &str, smtputf8: bool, expected: Halves<'_>) {
        let parsed = Mailbox::parse(raw.as_bytes(), smtputf8);
        let seen = parsed.map(|m| (lossy(m.local()), lossy(m.domain())));
        assert_eq!(seen, expected.map(|(l, d)| (l.to_owned(), d.to_owned())), "{raw:?}");
    }

    fn lossy(octets: &[u8]) -> String {
        String::from_utf8_lossy(octets).into_owned()
    }

    #[test]
    fn mailboxes() {
        use PathError::*;
        let long_local = format!("{}@ok.test", "a".repeat(129));
        let long_label = format!("a@{}.test", "b".repeat(64));
        let long_path = format!("a@{}test", "b123456789.".repeat(24));
        #[rustfmt::skip]
        let rows: &[(&str, bool, Halves<'_>)] = &[
            // what real mail looks like, case and all
            ("a@ok.test", false, Ok(("a", "ok.test"))),
            ("A.b+tag@OK.Test", false, Ok(("A.b+tag", "OK.Test"))),
            ("o'neil/x=y@ok.test", false, Ok(("o'neil/x=y", "ok.test"))),
            ("a@localhost", false, Ok(("a", "localhost"))),
            ("a@my_host.ok.test", false, Ok(("a", "my_host.ok.test"))),
            ("a@xn--bcher-kva.test", false, Ok(("a", "xn--bcher-kva.test"))),
            // against the grammar, yet in use
            ("a..b@ok.test", false, Ok(("a..b", "ok.test"))),
            (".a.@ok.test", false, Ok((".a.", "ok.test"))),
            // the one address without a domain
            ("postmaster", false, Ok(("postmaster", ""))),
            ("PostMaster", false, Ok(("PostMaster", ""))),
            ("root", false, Err(Syntax)),
            // the last @ outside quotes divides; tricks stay in the local part
            ("b%evil.test@ok.test", false, Ok(("b%evil.test", "ok.test"))),
            ("evil.test!b@ok.test", false, Ok(("evil.test!b", "ok.test"))),
            ("\"b@evil.test\"@ok.test", false, Ok(("\"b@evil.test\"", "ok.test"))),
            ("\"x@evil.test> NOTIFY=NEVER \"@ok.test", false, Ok(("\"x@evil.test> NOTIFY=NEVER \"", "ok.test"))),
            (r#""a\"b\\c"@ok.test"#, false, Ok((r#""a\"b\\c""#, "ok.test"))),
            ("a@b@ok.test", false, Err(Syntax)),
            // broken quoting
            ("\"a@ok.test", false, Err(Syntax)),
            ("\"a\"b@ok.test", false, Err(Syntax)),
            ("\"a\\", false, Err(Syntax)),
            ("\"a\tb\"@ok.test", false, Err(Syntax)),
            // source routes go, what they route to stays
            ("@ok.test:b@evil.test", false, Ok(("b", "evil.test"))),
            ("@one.test,@[127.0.0.1]:b@ok.test", false, Ok(("b", "ok.test"))),
            ("@ok.test", false, Err(Syntax)),
            ("@:b@ok.test", false, Err(Syntax)),
            ("@one.test,b@ok.test", false, Err(Syntax)),
            // address literals
            ("b@[127.0.0.1]", false, Ok(("b", "[127.0.0.1]"))),
            ("b@[IPv6:2001:db8::1]", false, Ok(("b", "[IPv6:2001:db8::1]"))),
            ("b@[1.2.3]", false, Err(Syntax)),
            ("b@[IPv6:zz]", false, Err(Syntax)),
            ("b@[127.0.0.1", false, Err(Syntax)),
            ("b@[127.0.0.1]x", false, Err(Syntax)),
            // not domains
            ("a@", false, Err(Syntax)),
            ("a@ok..test", false, Err(Syntax)),
            ("a@ok.test.", false, Err(Syntax)),
            ("a@-ok.test", false, Err(Syntax)),
            ("a@ok .test", false, Err(Syntax)),
            ("", false, Err(Syntax)),
            ("@", false, Err(Syntax)),
            // UTF-8 only when it was asked for, and nothing in it that hides or divides
            ("bücher@ok.test", false, Err(NotAscii)),
            ("bücher@ok.test", true, Ok(("bücher", "ok.test"))),
            ("a@bücher.test", true, Ok(("a", "bücher.test"))),
            ("a@evil\u{3002}test", true, Err(Syntax)),
            ("a\u{a0}b@ok.test", true, Err(Syntax)),
            ("a@ok\u{85}.test", true, Err(Syntax)),
            // lengths
            (&long_local, false, Err(TooLong)),
            (&long_label, false, Err(TooLong)),
            (&long_path, false, Err(TooLong)),
        ];
        for (raw, smtputf8, expected) in rows {
            check(raw, *smtputf8, *expected);
        }
        assert_eq!(Mailbox::parse(b"a\xff@ok.test", true), Err(NotAscii), "not UTF-8");
        assert_eq!(Mailbox::parse(b"a\0@ok.test", false), Err(Syntax), "NUL");
    }

    #[test]
    fn what_is_accepted_is_kept_octet_for_octet() {
        let raw = b"\"x@evil.test> NOTIFY=NEVER \"@ok.test";
        assert_eq!(Mailbox::parse(raw, false).unwrap().as_bytes(), raw);
    }

    #[test]
    fn the_closing_bracket_is_the_one_outside_quotes() {
        let rows: &[(&str, Option<(&str, &str)>)] = &[
            ("<a@b> SIZE=1", Some(("a@b", " SIZE=1"))),
            ("<>", Some(("", ""))),
            ("<\"x> y\"@b> Z", Some(("\"x> y\"@b", " Z"))),
            (r#"<"\">"@b>"#, Some((r#""\">"@b"#, ""))),
            ("<a@b", None),
            ("a@b>", None),
            ("<\"a>", None),
        ];
        for (text, expected) in rows {
            let seen = split_brackets(text.as_bytes()).map(|(path, rest)| (lossy(path), lossy(rest)));
            assert_eq!(seen, expected.map(|(path, rest)| (path.to_owned(), rest.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn reverse_and_forward_paths() {
        assert_eq!(ReversePath::parse(b"", false), Ok(ReversePath::Null));
        assert_eq!(ReversePath::parse(b"postmaster", false), Err(PathError::Syntax));
        assert!(ForwardPath::parse(b"postmaster", false).is_ok());
        assert_eq!(ForwardPath::parse(b"", false), Err(PathError::Syntax));
    }
}
