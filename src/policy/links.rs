//! Which links are left alone, and in what words the sender is told why.
//!
//! The rules about sensitive links are data; `sensitive.rs` matches them.
//! **Invariant:** a link no rule names is tracked; every refusal has a reason that names its rule.

use std::fmt;

use super::sensitive::{Switched, sensitive};
use crate::settings::{Level, LinkPattern, VisibleUrls};

/// One link as the policy sees it.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// Where it leads.
    pub url: &'a str,
    /// The host of `url`, in any case.
    pub host: &'a str,
    /// Path, query and fragment of `url`.
    pub path_and_query: &'a str,
    /// The visible text, without tags; empty when it has none.
    pub text: &'a str,
}

/// What an organisation, the sender and the message itself say about links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkRules {
    /// Links whose visible text is itself a URL.
    pub visible_urls: VisibleUrls,
    /// Hosts never tracked, lower case; `example.com` also covers its subdomains.
    pub excluded_hosts: Vec<String>,
    /// The organisation's own patterns of links never tracked.
    pub patterns: Vec<LinkPattern>,
    /// Which shipped rules about sensitive links do not count.
    pub switched: Switched,
    /// What the sender adds to all that.
    pub own: OwnLinks,
    /// URLs of the message's List-* fields.
    pub list_urls: Vec<String>,
}

/// Which links a sender leaves besides those that the organisation does, for their own mail.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnLinks {
    /// As [`LinkRules::visible_urls`].
    pub visible_urls: VisibleUrls,
    /// As [`LinkRules::excluded_hosts`].
    pub excluded_hosts: Vec<String>,
    /// As [`LinkRules::patterns`].
    pub patterns: Vec<LinkPattern>,
}

/// Why a link stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeftAlone {
    /// `data-waxseal="off"`.
    OptedOut,
    /// It stands in a List-* field of the message.
    ListField,
    /// A rule of `sensitive.txt`, by name.
    Sensitive(&'static str),
    /// This host is excluded: by the organisation, or by the sender.
    ExcludedHost(String, Level),
    /// A pattern of either's.
    Pattern(String, Level),
    /// Its text shows a URL, and one of them says `visible_urls = "leave"`.
    VisibleUrl(Level),
    /// A placeholder that nobody filled in.
    Template,
}

impl fmt::Display for LeftAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftAlone::OptedOut => f.write_str("data-waxseal=\"off\""),
            LeftAlone::ListField => f.write_str("it stands in the message's List- header"),
            LeftAlone::Sensitive(name) => write!(f, "{name} link"),
            LeftAlone::ExcludedHost(host, Level::User) => write!(f, "host {host} is excluded by the sender"),
            LeftAlone::ExcludedHost(host, _) => write!(f, "host {host} is excluded"),
            LeftAlone::Pattern(pattern, Level::User) => {
                write!(f, "links like {pattern} are left (leave_links of the sender)")
            }
            LeftAlone::Pattern(pattern, _) => write!(f, "links like {pattern} are left (leave_links)"),
            LeftAlone::VisibleUrl(Level::User) => {
                f.write_str("its text shows an address (visible_urls = \"leave\" of the sender)")
            }
            LeftAlone::VisibleUrl(_) => f.write_str("its text shows an address (visible_urls = \"leave\")"),
            LeftAlone::Template => f.write_str("holds a placeholder that was not filled in"),
        }
    }
}

impl LinkRules {
    /// Why this link stays; `None`: it may be tracked.
    pub fn left_alone(&self, link: &Link<'_>) -> Option<LeftAlone> {
        if is_template(link.url) {
            return Some(LeftAlone::Template);
        }
        if self.list_urls.iter().any(|url| url == link.url) {
            return Some(LeftAlone::ListField);
        }
        if let Some((host, by)) = self.excluded_host(link) {
            return Some(LeftAlone::ExcludedHost(host.clone(), by));
        }
        if let Some((pattern, by)) = self.pattern(link) {
            return Some(LeftAlone::Pattern(pattern.as_str().to_owned(), by));
        }
        if let Some(name) = sensitive(link, &self.switched) {
            return Some(LeftAlone::Sensitive(name));
        }
        let by = match (self.visible_urls, self.own.visible_urls) {
            (VisibleUrls::Leave, _) => Level::Org,
            (VisibleUrls::Track, VisibleUrls::Leave) => Level::User,
            (VisibleUrls::Track, VisibleUrls::Track) => return None,
        };
        shows_a_url(link.text).then_some(LeftAlone::VisibleUrl(by))
    }

    /// The excluded host that covers this link's, the organisation's first.
    fn excluded_host(&self, link: &Link<'_>) -> Option<(&String, Level)> {
        let covered = |host: &&String| covers(host, link.host);
        let of_org = self.excluded_hosts.iter().find(covered).map(|host| (host, Level::Org));
        of_org.or_else(|| self.own.excluded_hosts.iter().find(covered).map(|host| (host, Level::User)))
    }

    /// The pattern that means this link, the organisation's first. Linear in the link for each pattern.
    fn pattern(&self, link: &Link<'_>) -> Option<(&LinkPattern, Level)> {
        if self.patterns.is_empty() && self.own.patterns.is_empty() {
            return None;
        }
        let lower = link.path_and_query.to_ascii_lowercase();
        // `https://example.com?a` has an empty path, which is `/` (WHATWG URL).
        let target = if lower.starts_with('/') { lower } else { format!("/{lower}") };
        let means = |pattern: &&LinkPattern| {
            (pattern.host() == "*" || covers(pattern.host(), link.host)) && has_pieces(pattern, target.as_bytes())
        };
        let of_org = self.patterns.iter().find(means).map(|pattern| (pattern, Level::Org));
        of_org.or_else(|| self.own.patterns.iter().find(means).map(|pattern| (pattern, Level::User)))
    }
}

/// Whether the pieces stand in this order, the first at the beginning. The first place of each is as good as any later one.
fn has_pieces(pattern: &LinkPattern, target: &[u8]) -> bool {
    let mut pieces = pattern.pieces().map(str::as_bytes);
    let mut rest = pieces.next().and_then(|first| target.strip_prefix(first));
    for piece in pieces {
        rest = rest.and_then(|rest| rest.get(memchr::memmem::find(rest, piece)? + piece.len()..));
    }
    rest.is_some()
}

/// The web addresses of one List-* field value: what stands in angle brackets, white space removed (RFC 2369 §2).
pub fn list_urls(value: &str) -> Vec<String> {
    let inside = value.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(url, _)| url);
    let clean = inside.map(|url| url.chars().filter(|c| !c.is_whitespace()).collect::<String>());
    clean.filter(|url| url.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("http"))).collect()
}

/// Placeholders of the usual template languages, also percent-encoded.
fn is_template(url: &str) -> bool {
    const MARKS: &[&str] =
        &["{{", "}}", "{%", "%}", "*|", "|*", "%%", "[[", "]]", "<%", "%>", "${", "#{", "%7B%7B", "%7b%7b", "%5B%5B"];
    // Most URLs have none of these octets, and there are many URLs.
    let octets = url.as_bytes();
    let braces = memchr::memchr3(b'{', b'}', b'|', octets).or_else(|| memchr::memchr2(b'[', b']', octets)).is_some();
    let percents = || memchr::memchr_iter(b'%', octets).any(|at| is_odd_percent(octets, at));
    (braces || percents()) && (MARKS.iter().any(|mark| url.contains(mark)) || has_braced_word(url))
}

/// `%%`, `<%`, `%>`, or the beginning of an encoded bracket.
fn is_odd_percent(url: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|at| url.get(at));
    before == Some(&b'<') || matches!(url.get(at + 1), Some(b'%' | b'>' | b'5' | b'7'))
}

/// `{unsubscribe_link}`
fn has_braced_word(url: &str) -> bool {
    url.split('{').skip(1).filter_map(|rest| rest.split_once('}')).any(|(word, _)| {
        !word.is_empty() && word.len() <= 60 && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.- :".contains(&b))
    })
}

/// Whether `host` is `rule` or a subdomain of it.
pub(super) fn covers(rule: &str, host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host).as_bytes();
    let rule = rule.as_bytes();
    let Some(at) = host.len().checked_sub(rule.len()) else { return false };
    let (start, end) = host.split_at(at);
    end.eq_ignore_ascii_case(rule) && (start.is_empty() || start.ends_with(b"."))
}

/// Whether the whole visible text is an address: `https://…`, `www.…`, or `host.tld/…`.
fn shows_a_url(text: &str) -> bool {
    let text = text.trim();
    if text.is_empty() || text.contains(char::is_whitespace) || text.contains('@') {
        return false;
    }
    let lower = text.to_ascii_lowercase();
    if ["http://", "https://", "www."].iter().any(|start| lower.starts_with(start)) {
        return true;
    }
    let host = lower.split(['/', '?', '#', ':']).next().unwrap_or_default();
    let labels: Vec<&str> = host.split('.').collect();
    let label = |l: &&str| !l.is_empty() && l.chars().all(|c| c.is_alphanumeric() || c == '-');
    let top = labels.last().is_some_and(|top| top.len() >= 2 && top.chars().all(char::is_alphabetic));
    labels.len() >= 2 && labels.iter().all(label) && top
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(rules: &LinkRules, url: &str, text: &str) -> Option<String> {
        let after = url.split_once("://").unwrap().1;
        let (host, path_and_query) = after.split_at(after.find(['/', '?']).unwrap_or(after.len()));
        rules.left_alone(&Link { url, host, path_and_query, text }).map(|why| why.to_string())
    }

    #[test]
    fn the_organisation_and_the_message_decide() {
        let rules = LinkRules {
            visible_urls: VisibleUrls::Leave,
            excluded_hosts: vec!["example.com".to_owned()],
            patterns: ["portal.test/account", "*/track*me=", "root.test"].map(|text| text.parse().unwrap()).into(),
            switched: Switched::default(),
            own: OwnLinks::default(),
            list_urls: list_urls("<mailto:x@y>,\r\n <https://l.test/u?\r\n a=1>"),
        };
        assert_eq!(rules.list_urls, ["https://l.test/u?a=1"]);
        let rows: &[(&str, &str, Option<&str>)] = &[
            ("https://l.test/u?a=1", "", Some("it stands in the message's List- header")),
            ("http://Example.com/", "", Some("host example.com is excluded")),
            ("http://a.b.example.com./", "", Some("host example.com is excluded")),
            ("http://notexample.com/", "", None),
            // patterns: a host and below, the beginning of a path, any host, a gap; in either case of letters
            ("http://portal.test/Account/1", "", Some("links like portal.test/account are left (leave_links)")),
            ("http://a.Portal.test/accounts", "", Some("links like portal.test/account are left (leave_links)")),
            ("http://portal.test/my/account", "", None),
            ("http://other.test/account", "", None),
            ("http://any.test/tracker?a=1&ME=2", "", Some("links like */track*me= are left (leave_links)")),
            ("http://any.test/me=/track", "", None),
            ("http://root.test", "", Some("links like root.test/ are left (leave_links)")),
            ("http://root.test?a=1", "", Some("links like root.test/ are left (leave_links)")),
            // text that is an address, and text that only looks a little like one
            ("http://x.test/", "https://other.test/a", Some("its text shows an address (visible_urls = \"leave\")")),
            ("http://x.test/", " www.other.test ", Some("its text shows an address (visible_urls = \"leave\")")),
            ("http://x.test/", "other.test/a", Some("its text shows an address (visible_urls = \"leave\")")),
            ("http://x.test/", "see other.test", None),
            ("http://x.test/", "Read more...", None),
            ("http://x.test/", "1.5", None),
            ("http://x.test/", "me@other.test", None),
            // placeholders
            ("http://x.test/?id={{id}}", "", Some("holds a placeholder that was not filled in")),
            ("http://x.test/*|UNIQID|*", "", Some("holds a placeholder that was not filled in")),
            ("http://x.test/%%view%%", "", Some("holds a placeholder that was not filled in")),
            ("http://x.test/{user_id}", "", Some("holds a placeholder that was not filled in")),
        ];
        for (url, text, expected) in rows {
            assert_eq!(judge(&rules, url, text).as_deref(), *expected, "{url} {text}");
        }
    }

    /// The sender's lists add to the organisation's, and the reason says whose it was: the organisation's where both say so.
    #[test]
    fn a_sender_leaves_more() {
        let own = OwnLinks {
            visible_urls: VisibleUrls::Leave,
            excluded_hosts: vec!["both.test".to_owned(), "mine.test".to_owned()],
            patterns: ["both.example/a", "mine.example/a"].map(|text| text.parse().unwrap()).into(),
        };
        let org = LinkRules {
            excluded_hosts: vec!["both.test".to_owned()],
            patterns: vec!["both.example/a".parse().unwrap()],
            ..LinkRules::default()
        };
        let both = LinkRules { own: own.clone(), ..org.clone() };
        let leaves = LinkRules { visible_urls: VisibleUrls::Leave, ..both.clone() };
        let rows: &[(&LinkRules, &str, &str, Option<&str>)] = &[
            (&org, "https://mine.test/", "", None),
            (&both, "https://mine.test/", "", Some("host mine.test is excluded by the sender")),
            (&both, "https://a.both.test/", "", Some("host both.test is excluded")),
            (
                &both,
                "https://mine.example/a",
                "",
                Some("links like mine.example/a are left (leave_links of the sender)"),
            ),
            (&both, "https://both.example/a", "", Some("links like both.example/a are left (leave_links)")),
            (
                &both,
                "https://x.test/",
                "www.y.test",
                Some("its text shows an address (visible_urls = \"leave\" of the sender)"),
            ),
            (&leaves, "https://x.test/", "www.y.test", Some("its text shows an address (visible_urls = \"leave\")")),
            (&both, "https://x.test/", "read", None),
        ];
        for (rules, url, text, expected) in rows {
            assert_eq!(judge(rules, url, text).as_deref(), *expected, "{url} {text}");
        }
    }
}
