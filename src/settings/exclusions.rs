//! Links and recipients that an organisation never tracks, as patterns that a person can write and read.
//!
//! **Invariant:** a pattern is kept as it is compared, and reads back as itself.

use std::fmt;
use std::str::FromStr;

/// Most link patterns of one organisation: each link of each mail is held against all of them.
pub const LINK_PATTERNS_MAX: usize = 100;
/// Most excluded recipients of one organisation.
pub const RECIPIENTS_MAX: usize = 1000;
/// Longest pattern in bytes.
pub const PATTERN_BYTES_MAX: usize = 254;

/// `HOST/PATH`: links to this host and every host below it whose path, query and fragment begin with PATH.
///
/// `*` as HOST means any host. In PATH it means any run of characters, also none. Letters count in either case.
/// `example.com` alone is the whole host.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LinkPattern(String);

/// Why a text is no link pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadLinkPattern {
    /// Longer than [`PATTERN_BYTES_MAX`].
    TooLong,
    /// It begins with `https://` or the like.
    Scheme,
    /// What stands before the first `/` is no host name.
    Host,
    /// Spaces, control characters, or not US-ASCII behind the host.
    Characters,
    /// It means every link.
    Everything,
}

impl fmt::Display for BadLinkPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadLinkPattern::TooLong => write!(f, "a pattern has at most {PATTERN_BYTES_MAX} bytes"),
            BadLinkPattern::Scheme => f.write_str("leave https:// away: write example.com/account"),
            BadLinkPattern::Host => {
                f.write_str("write a host and the beginning of a path, as example.com/account; * is any host")
            }
            BadLinkPattern::Characters => f.write_str("a path is written in US-ASCII without spaces, as in the link"),
            BadLinkPattern::Everything => f.write_str("it means every link: switch link tracking off instead"),
        }
    }
}

impl FromStr for LinkPattern {
    type Err = BadLinkPattern;
    fn from_str(text: &str) -> Result<LinkPattern, BadLinkPattern> {
        let text = text.trim();
        if text.contains("://") {
            return Err(BadLinkPattern::Scheme);
        }
        let (host, path) = text.split_at(text.find('/').unwrap_or(text.len()));
        let host = match host {
            "*" => host.to_owned(),
            host => a_label(host.strip_prefix("*.").unwrap_or(host)).ok_or(BadLinkPattern::Host)?,
        };
        if !path.bytes().all(|octet| octet.is_ascii_graphic()) {
            return Err(BadLinkPattern::Characters);
        }
        if host == "*" && path.bytes().all(|octet| octet == b'/' || octet == b'*') {
            return Err(BadLinkPattern::Everything);
        }
        let path = if path.is_empty() { "/".to_owned() } else { path.to_ascii_lowercase() };
        let pattern = format!("{host}{path}");
        if pattern.len() > PATTERN_BYTES_MAX { Err(BadLinkPattern::TooLong) } else { Ok(LinkPattern(pattern)) }
    }
}

impl LinkPattern {
    /// As it is kept: lower case, the host as A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host, `*` for any.
    pub fn host(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// What must stand in a row in the path, anything between; the path begins with the first.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.0.get(self.host().len()..).unwrap_or_default().split('*')
    }
}

/// `ann@example.com`, or `example.com` for everybody there and below.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RecipientPattern(String);

/// The text is no mail address and no domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRecipientPattern;

impl fmt::Display for BadRecipientPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("write an address, as ann@example.com, or a domain, as example.com")
    }
}

impl FromStr for RecipientPattern {
    type Err = BadRecipientPattern;
    fn from_str(text: &str) -> Result<RecipientPattern, BadRecipientPattern> {
        let text = text.trim();
        let bad = |c: char| c.is_whitespace() || c.is_control() || c == '<' || c == '>' || c == ',';
        if text.len() > PATTERN_BYTES_MAX || text.contains(bad) {
            return Err(BadRecipientPattern);
        }
        let text = text.strip_prefix("*@").or_else(|| text.strip_prefix('@')).unwrap_or(text);
        let (local, domain) = text.rsplit_once('@').map_or((None, text), |(local, domain)| (Some(local), domain));
        let domain = a_label(domain).ok_or(BadRecipientPattern)?;
        match local {
            Some("") => Err(BadRecipientPattern),
            Some(local) => Ok(RecipientPattern(format!("{}@{domain}", local.to_lowercase()))),
            None => Ok(RecipientPattern(domain)),
        }
    }
}

impl RecipientPattern {
    /// As it is kept: lower case, the domain as A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Which of these means this address.
    pub fn find<'p>(patterns: &'p [RecipientPattern], address: &str) -> Option<&'p RecipientPattern> {
        if patterns.is_empty() {
            return None;
        }
        let (local, domain) = address.rsplit_once('@')?;
        let local = unquoted(local).to_lowercase();
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        let domain = a_label(domain).unwrap_or_else(|| domain.to_lowercase());
        patterns.iter().find(|pattern| match pattern.0.rsplit_once('@') {
            Some((only, at)) => only == local && at == domain,
            None => {
                let above = domain.strip_suffix(pattern.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
        })
    }
}

/// `"a\.b"` is `a.b` (RFC 5321 §4.1.2: the quotes are not part of the name).
fn unquoted(local: &str) -> String {
    let Some(inner) = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return local.to_owned() };
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or('\\') } else { c });
    }
    out
}

/// A host name in lower-case A-labels; `None` when it is none.
fn a_label(host: &str) -> Option<String> {
    let host = host.strip_suffix('.').unwrap_or(host);
    idna::domain_to_ascii_strict(host).ok().filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_patterns() {
        let long = format!("example.com/{}", "x".repeat(PATTERN_BYTES_MAX));
        let rows: &[(&str, Result<&str, BadLinkPattern>)] = &[
            // folded; a host alone is all of it; what people write for "below"
            (" Example.COM/Account ", Ok("example.com/account")),
            ("example.com", Ok("example.com/")),
            ("*.example.com/a", Ok("example.com/a")),
            ("b\u{fc}cher.example/a?b=*#c", Ok("xn--bcher-kva.example/a?b=*#c")),
            ("*/reset*key=", Ok("*/reset*key=")),
            ("localhost/a", Ok("localhost/a")),
            // what is none
            ("https://example.com/", Err(BadLinkPattern::Scheme)),
            ("", Err(BadLinkPattern::Host)),
            ("/account", Err(BadLinkPattern::Host)),
            ("example.com:8080/", Err(BadLinkPattern::Host)),
            ("exa*mple.com/", Err(BadLinkPattern::Host)),
            ("example.com/a b", Err(BadLinkPattern::Characters)),
            ("example.com/\u{e4}", Err(BadLinkPattern::Characters)),
            ("*", Err(BadLinkPattern::Everything)),
            ("*/**", Err(BadLinkPattern::Everything)),
            (&long, Err(BadLinkPattern::TooLong)),
        ];
        for (text, expected) in rows {
            let pattern = text.parse::<LinkPattern>();
            assert_eq!(pattern.as_ref().map(LinkPattern::as_str).map_err(|why| *why), *expected, "{text:?}");
            if let Ok(pattern) = pattern {
                assert_eq!(pattern.as_str().parse(), Ok(pattern), "it reads back as itself");
            }
        }
        let pattern: LinkPattern = "example.com/a*b".parse().unwrap();
        assert_eq!((pattern.host(), pattern.pieces().collect::<Vec<_>>()), ("example.com", vec!["/a", "b"]));
    }

    #[test]
    fn recipient_patterns() {
        for (text, expected) in [
            ("Ann@Example.COM", Some("ann@example.com")),
            ("example.com.", Some("example.com")),
            ("@example.com", Some("example.com")),
            ("*@example.com", Some("example.com")),
            ("ann@b\u{fc}cher.example", Some("ann@xn--bcher-kva.example")),
            ("", None),
            ("ann@", None),
            ("Ann <ann@example.com>", None),
            ("a b@example.com", None),
        ] {
            let pattern = text.parse::<RecipientPattern>().ok();
            assert_eq!(pattern.as_ref().map(RecipientPattern::as_str), expected, "{text:?}");
            if let Some(pattern) = pattern {
                assert_eq!(pattern.as_str().parse(), Ok(pattern), "it reads back as itself");
            }
        }
    }

    #[test]
    fn excluded_recipients_are_found_however_they_are_written() {
        let patterns: Vec<RecipientPattern> =
            ["ann@example.com", "partner.example"].iter().map(|text| text.parse().unwrap()).collect();
        for (address, expected) in [
            // case, quotes, a final dot
            ("Ann@EXAMPLE.com", Some("ann@example.com")),
            ("\"a\\nn\"@example.com.", Some("ann@example.com")),
            // a domain, and what is below it
            ("bob@partner.example", Some("partner.example")),
            ("bob@mail.Partner.Example", Some("partner.example")),
            // others
            ("bob@example.com", None),
            ("ann@mail.example.com", None),
            ("bob@notpartner.example", None),
            ("postmaster", None),
        ] {
            let found = RecipientPattern::find(&patterns, address).map(RecipientPattern::as_str);
            assert_eq!(found, expected, "{address}");
        }
    }
}
