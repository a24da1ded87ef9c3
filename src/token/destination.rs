//! What the recipient's client would have opened: the text we seal (DESIGN 4.4).
//!
//! The attribute is decoded once and stripped as the URL standard strips it; nothing else is normalised.
//! **Invariant:** a [`Destination`] is printable US-ASCII, an absolute http or https URL with a valid host, and at most
//! [`DESTINATION_BYTES_MAX`] long: it can stand in a `Location:` header as it is, and a client opens it as it would
//! have opened the original.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// Longest destination we seal, in octets: the token stays under 2,100 characters, which every client takes.
pub const DESTINATION_BYTES_MAX: usize = 1_500;

/// Longest host name, in octets (RFC 1035 §2.3.4); what is longer as an A-label is none either.
const HOST_BYTES_MAX: usize = 255;

/// An absolute http or https URL, ready to be sealed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Destination {
    url: String,
    host: std::ops::Range<usize>,
}

/// Why a link has no destination of ours and stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotADestination {
    /// Another scheme, relative, empty.
    NotWeb,
    /// The host is no valid host.
    BadHost,
    /// A control character inside.
    Control,
    /// Beyond US-ASCII, and the document is not known to be UTF-8.
    NotAscii,
    /// Over [`DESTINATION_BYTES_MAX`].
    TooLong,
}

impl fmt::Display for NotADestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NotADestination::NotWeb => "not an absolute http or https address",
            NotADestination::BadHost => "its host name is not valid",
            NotADestination::Control => "holds a control character",
            NotADestination::NotAscii => "holds letters beyond ASCII in a document that is not UTF-8",
            NotADestination::TooLong => "longer than 1500 bytes",
        })
    }
}

impl Destination {
    /// Reads an attribute value as it stands in HTML, entities and all. `utf8`: the document is known to be UTF-8.
    ///
    /// # Errors
    /// [`NotADestination`]: leave the link as it is.
    pub fn from_attribute(value: &[u8], utf8: bool) -> Result<Destination, NotADestination> {
        let text = match std::str::from_utf8(value) {
            Ok(text) if utf8 || text.is_ascii() => text,
            // Only a web address is worth saying more about.
            _ if !is_web(value.trim_ascii_start()) => return Err(NotADestination::NotWeb),
            _ => return Err(NotADestination::NotAscii),
        };
        let decoded = unescaped(text);
        if !utf8 && !decoded.is_ascii() && is_web(decoded.trim_start().as_bytes()) {
            return Err(NotADestination::NotAscii);
        }
        Destination::read(decoded)
    }

    /// Reads a URL as text, without entities.
    ///
    /// # Errors
    /// [`NotADestination`]: leave the link as it is.
    pub fn from_text(text: &str) -> Result<Destination, NotADestination> {
        Destination::read(Cow::Borrowed(text))
    }

    fn read(text: Cow<'_, str>) -> Result<Destination, NotADestination> {
        // Most links are: nothing is to be stripped, refused or encoded then.
        let plain = text.bytes().fold(true, |plain, octet| plain & matches!(octet, b'!'..=b'~'));
        let text = if plain { text } else { Cow::Owned(strip(&text).into_owned()) };
        let rest = after_scheme(&text).ok_or(NotADestination::NotWeb)?;
        if !plain && has_control(&text) {
            return Err(NotADestination::Control);
        }
        let (scheme, rest) = text.split_at(text.len() - rest.len());
        let (authority, tail) = rest.split_at(authority_len(rest));
        let user_len = authority.bytes().rposition(|octet| octet == b'@').map_or(0, |at| at + 1);
        let (user, host_port) = authority.split_at(user_len);
        let (host, port) = split_port(host_port).ok_or(NotADestination::BadHost)?;
        let host = ascii_host(host).ok_or(NotADestination::BadHost)?;
        let user = if plain { Cow::Borrowed(user) } else { ascii(user) };
        let start = scheme.len() + user.len();
        let host_range = start..start + host.len();
        let url = match host {
            Cow::Borrowed(_) if plain => text.into_owned(),
            host => [scheme, &user, &host, port, &ascii(tail)].concat(),
        };
        if url.len() > DESTINATION_BYTES_MAX {
            return Err(NotADestination::TooLong);
        }
        Ok(Destination { host: host_range, url })
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// The URL, owned.
    pub fn into_string(self) -> String {
        self.url
    }

    /// The host as it stands, without port; in any case.
    pub fn host(&self) -> &str {
        self.url.get(self.host.clone()).unwrap_or_default()
    }

    /// What follows the host and port: path, query, fragment.
    pub fn path_and_query(&self) -> &str {
        let rest = self.url.get(self.host.end..).unwrap_or_default();
        rest.get(authority_len(rest)..).unwrap_or_default()
    }
}

/// The attribute's text as a browser reads it.
fn unescaped(text: &str) -> Cow<'_, str> {
    const AMP: &str = "&amp;";
    let mut rest = text;
    let mut out = String::new();
    while let Some(at) = memchr::memchr(b'&', rest.as_bytes()) {
        let (before, entity) = rest.split_at(at);
        // Nearly always it is this one; all others, and those without a semicolon, have a table of their own.
        let Some(after) = entity.strip_prefix(AMP) else { return htmlize::unescape_attribute(text) };
        out.reserve(text.len());
        out.push_str(before);
        out.push('&');
        rest = after;
    }
    if rest.len() == text.len() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Where path, query or fragment begin.
fn authority_len(text: &str) -> usize {
    text.bytes().position(|octet| matches!(octet, b'/' | b'?' | b'#' | b'\\')).unwrap_or(text.len())
}

/// Control characters, C1 among them.
fn has_control(text: &str) -> bool {
    has_low(text) || (!text.is_ascii() && text.chars().any(char::is_control))
}

/// C0 controls and DEL. Looks at every octet, so that many are looked at at once.
fn has_low(text: &str) -> bool {
    text.bytes().fold(false, |found, b| found | (b < b' ') | (b == 0x7f))
}

/// URL standard, basic URL parser: outer C0 controls and spaces go, inner tab, CR and LF go.
fn strip(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(|c: char| c <= ' ');
    if has_low(text) && text.contains(['\t', '\r', '\n']) {
        Cow::Owned(text.chars().filter(|c| !matches!(c, '\t' | '\r' | '\n')).collect())
    } else {
        Cow::Borrowed(text)
    }
}

fn is_web(value: &[u8]) -> bool {
    value.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"http"))
}

/// What follows `http://` or `https://`; a third slash or a backslash there is for browsers to make sense of, not for us.
fn after_scheme(text: &str) -> Option<&str> {
    let rest = ["https://", "http://"].iter().find_map(|scheme| {
        let start = text.get(..scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then(|| text.get(scheme.len()..)).flatten()
    })?;
    (!rest.starts_with(['/', '\\'])).then_some(rest)
}

/// Host, and `:port` as it stands.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let host_len = if text.starts_with('[') {
        text.find(']')? + 1
    } else {
        text.bytes().position(|octet| octet == b':').unwrap_or(text.len())
    };
    let (host, port) = text.split_at(host_len);
    let digits = if port.is_empty() { "" } else { port.strip_prefix(':')? };
    let valid = digits.is_empty() || (digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok());
    valid.then_some((host, port))
}

/// The host as US-ASCII: as it stands where it is, its A-label where it is not.
fn ascii_host(host: &str) -> Option<Cow<'_, str>> {
    if let Some(inner) = host.strip_prefix('[') {
        let address = inner.strip_suffix(']')?;
        return address.parse::<Ipv6Addr>().is_ok().then_some(Cow::Borrowed(host));
    }
    if host.is_empty() || host.len() > HOST_BYTES_MAX || host.bytes().any(is_forbidden) {
        return None;
    }
    let a_label = || host.as_bytes().windows(2).any(|two| two == b"--") && host.split('.').any(is_a_label);
    if host.is_ascii() && !a_label() {
        return Some(Cow::Borrowed(host));
    }
    let mapped = idna::domain_to_ascii(host).ok()?;
    let valid = (1..=HOST_BYTES_MAX).contains(&mapped.len()) && !mapped.bytes().any(is_forbidden);
    if host.is_ascii() { valid.then_some(Cow::Borrowed(host)) } else { valid.then_some(Cow::Owned(mapped)) }
}

fn is_a_label(label: &str) -> bool {
    label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"))
}

fn is_forbidden(octet: u8) -> bool {
    FORBIDDEN.get(usize::from(octet)).is_some_and(|forbidden| *forbidden)
}

/// URL standard, forbidden domain code points, and what no name has.
const FORBIDDEN: [bool; 256] = {
    let mut forbidden = [false; 256];
    let mut octet = 0u8;
    while octet < 0x80 {
        let named = matches!(octet, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=');
        forbidden[octet as usize] = !octet.is_ascii_alphanumeric() && !named;
        octet += 1;
    }
    forbidden
};

/// Everything beyond US-ASCII percent-encoded as UTF-8.
fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() * 2);
    for octet in text.bytes() {
        match octet {
            0x80.. => encoded.push_str(&format!("%{octet:02X}")),
            _ => encoded.push(char::from(octet)),
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
mod tests {
    use super::NotADestination::*;
    use super::*;

    fn check(value: &str, utf8: bool, expected: Result<&str, NotADestination>) {
        let found = Destination::from_attribute(value.as_bytes(), utf8);
        assert_eq!(found.as_ref().map(Destination::as_str), expected.as_ref().copied(), "{value:?}");
    }

    #[test]
    fn a_host_too_long_as_an_a_label_is_none() {
        let host = |labels: usize| format!("http://{}example/", "\u{fc}bcd.".repeat(labels));
        assert!(Destination::from_text(&host(20)).is_ok_and(|to| to.host().len() <= HOST_BYTES_MAX));
        assert!(host(30).len() < HOST_BYTES_MAX);
        assert_eq!(Destination::from_text(&host(30)), Err(BadHost));
    }

    #[test]
    fn is_what_a_client_would_open() {
        let rows: &[(&str, &str)] = &[
            ("http://example.com", "http://example.com"),
            ("HTTPS://Example.COM:8443/A?b=c#d", "HTTPS://Example.COM:8443/A?b=c#d"),
            // entities once, as an attribute: named without semicolon before = or a letter stays
            ("http://x.test/?a=1&amp;b=2", "http://x.test/?a=1&b=2"),
            ("http://x.test/?a=1&b=2", "http://x.test/?a=1&b=2"),
            ("http://x.test/?a=1&copy=2", "http://x.test/?a=1&copy=2"),
            ("http://x.test/?a=1&amp;amp;b", "http://x.test/?a=1&amp;b"),
            ("http://x.test/?a=1&#38;b=2&#x26;c=3&#X26;d", "http://x.test/?a=1&b=2&c=3&d"),
            ("&#104;ttp&#x3a;//x.test/", "http://x.test/"),
            // outer C0 and space, inner tab and line ends; inner spaces are the URL's own
            ("\u{1} http://x.test/a\r\n\tb ", "http://x.test/ab"),
            ("http://x.test/a b", "http://x.test/a b"),
            ("ht\ntp://x.test/", "http://x.test/"),
            // percent, brackets, quotes, user, port without digits, address literals
            ("http://u:p@x.test:/%zz?a[]='", "http://u:p@x.test:/%zz?a[]='"),
            ("http://[2001:db8::1]:80/", "http://[2001:db8::1]:80/"),
            ("http://x.test\\a", "http://x.test\\a"),
            ("http://a@b@x.test/@c?d?e??f#g#h?i", "http://a@b@x.test/@c?d?e??f#g#h?i"),
            // beyond ASCII in UTF-8: the host's A-label, the rest percent-encoded
            ("http://bücher.example/é?ü", "http://xn--bcher-kva.example/%C3%A9?%C3%BC"),
            ("http://xn--bcher-kva.example/", "http://xn--bcher-kva.example/"),
            ("http://x.test/&eacute;", "http://x.test/%C3%A9"),
        ];
        for (value, expected) in rows {
            check(value, true, Ok(expected));
        }
    }

    #[test]
    fn is_left_where_clients_could_differ() {
        let rows: &[(&str, bool, NotADestination)] = &[
            ("", true, NotWeb),
            ("mailto:a@b", true, NotWeb),
            ("//x.test/", true, NotWeb),
            ("/path", true, NotWeb),
            ("http:x", true, NotWeb),
            ("http:/x.test", true, NotWeb),
            ("http:///x.test", true, NotWeb),
            ("http:\\\\x.test", true, NotWeb),
            ("javascript:http://x", true, NotWeb),
            ("http://", true, BadHost),
            ("http://a b/", true, BadHost),
            ("http://a%20b/", true, BadHost),
            ("http://{{host}}/", true, BadHost),
            ("http://x.test:99999/", true, BadHost),
            ("http://x.test:8o/", true, BadHost),
            ("http://[::1/", true, BadHost),
            ("http://[x]/", true, BadHost),
            ("http://xn--\u{fc}/", true, BadHost),
            ("http://x.test/\u{7}a", true, Control),
            ("http://x.test/&#0;", true, NotADestination::Control),
            // the bytes of é mean something else in every charset
            ("http://x.test/é", false, NotAscii),
            ("http://x.test/&eacute;", false, NotAscii),
            ("é", false, NotWeb),
        ];
        for (value, utf8, expected) in rows {
            if *value == "http://x.test/&#0;" {
                // HTML makes U+FFFD of it, which is no control character
                check(value, *utf8, Ok("http://x.test/%EF%BF%BD"));
                continue;
            }
            check(value, *utf8, Err(*expected));
        }
        let long = format!("http://x.test/{}", "a".repeat(DESTINATION_BYTES_MAX));
        check(&long, true, Err(TooLong));
        assert_eq!(Destination::from_attribute(b"http://x.test/\xff", true), Err(NotAscii));
    }

    #[test]
    fn tells_host_and_path() {
        let destination = Destination::from_text("http://u@X.test:8080/a?b").unwrap();
        assert_eq!((destination.host(), destination.path_and_query()), ("X.test", "/a?b"));
        assert_eq!(Destination::from_text("http://x").unwrap().path_and_query(), "");
    }

    proptest::proptest! {
        #[test]
        fn can_stand_in_a_header(value in "(https?://)?[ -~\\t\\r\\né]{0,40}", utf8: bool) {
            if let Ok(destination) = Destination::from_attribute(value.as_bytes(), utf8) {
                assert!(destination.as_str().bytes().all(|b| (32..127).contains(&b)));
                assert!(destination.as_str().len() <= DESTINATION_BYTES_MAX);
                // reading it again changes nothing
                assert_eq!(Destination::from_text(destination.as_str()), Ok(destination));
            }
        }
    }
}
