//! Which links are left alone, and in what words the sender is told why.
//!
//! The rules about sensitive links are data (`sensitive.txt`); this file matches them.
//! **Invariant:** a link no rule names is tracked; every refusal has a reason that names its rule.

use std::fmt;
use std::sync::LazyLock;

use crate::settings::VisibleUrls;

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

/// What an organisation and the message itself say about links.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkRules {
    /// Links whose visible text is itself a URL.
    pub visible_urls: VisibleUrls,
    /// Hosts never tracked, lower case; `example.com` also covers its subdomains.
    pub excluded_hosts: Vec<String>,
    /// URLs of the message's List-* fields.
    pub list_urls: Vec<String>,
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
    /// The organisation excludes this host.
    ExcludedHost(String),
    /// Its text shows a URL, and the organisation says `visible_urls = "leave"`.
    VisibleUrl,
    /// A placeholder that nobody filled in.
    Template,
}

impl fmt::Display for LeftAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftAlone::OptedOut => f.write_str("data-waxseal=\"off\""),
            LeftAlone::ListField => f.write_str("it stands in the message's List- header"),
            LeftAlone::Sensitive(name) => write!(f, "{name} link"),
            LeftAlone::ExcludedHost(host) => write!(f, "host {host} is excluded"),
            LeftAlone::VisibleUrl => f.write_str("its text shows an address (visible_urls = \"leave\")"),
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
        if let Some(host) = self.excluded_hosts.iter().find(|host| covers(host, link.host)) {
            return Some(LeftAlone::ExcludedHost(host.clone()));
        }
        if let Some(name) = sensitive(link) {
            return Some(LeftAlone::Sensitive(name));
        }
        let hidden = self.visible_urls == VisibleUrls::Leave && shows_a_url(link.text);
        hidden.then_some(LeftAlone::VisibleUrl)
    }
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
fn covers(rule: &str, host: &str) -> bool {
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Key,
    Url,
    Text,
}

struct Rule {
    name: &'static str,
    place: Place,
    words: Vec<&'static str>,
}

/// The rules of one place, and a sieve: most words of most links begin no rule, and there are many links.
struct Rules {
    list: Vec<Rule>,
    first_words: [bool; SIEVE],
}

const SIEVE: usize = 1024;

impl Rules {
    fn of(place: Place) -> Rules {
        let mut list: Vec<Rule> = include_str!("sensitive.txt").lines().filter_map(rule).collect();
        list.retain(|rule| rule.place == place);
        let mut first_words = [false; SIEVE];
        for word in list.iter().filter_map(|rule| rule.words.first()) {
            if let Some(mark) = first_words.get_mut(sieve(word.as_bytes())) {
                *mark = true;
            }
        }
        Rules { list, first_words }
    }

    /// The rule whose words the text begins with, in any case; `first_len` is how long its first word is.
    fn named(&self, text: &[u8], first_len: usize) -> Option<&'static str> {
        let first = text.get(..first_len)?;
        if !self.first_words.get(sieve(first)).is_some_and(|mark| *mark) {
            return None;
        }
        let matches = |rule: &&Rule| {
            let mut here = words(text);
            rule.words.iter().all(|word| here.next().is_some_and(|other| other.eq_ignore_ascii_case(word.as_bytes())))
        };
        self.list.iter().find(matches).map(|rule| rule.name)
    }

    /// The first rule whose words stand in a row in the text.
    fn by_words(&self, text: &[u8]) -> Option<&'static str> {
        let mut rest = text;
        while let Some(start) = rest.iter().position(|b| is_letter(*b)) {
            let word = rest.get(start..)?;
            let len = word.iter().position(|b| !is_letter(*b)).unwrap_or(word.len());
            if let Some(name) = self.named(word, len) {
                return Some(name);
            }
            rest = word.get(len..)?;
        }
        None
    }
}

/// A word is a run of letters and digits; beyond ASCII everything counts as a letter.
fn is_letter(octet: u8) -> bool {
    LETTERS.get(usize::from(octet)).is_some_and(|letter| *letter)
}

const LETTERS: [bool; 256] = {
    let mut letters = [false; 256];
    let mut octet = 0u8;
    loop {
        letters[octet as usize] = octet.is_ascii_alphanumeric() || !octet.is_ascii();
        if octet == u8::MAX {
            break letters;
        }
        octet += 1;
    }
};

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| !is_letter(*b)).filter(|word| !word.is_empty())
}

/// A small number for a word, the same in any ASCII case.
fn sieve(word: &[u8]) -> usize {
    let octet = |at: usize| word.get(at).map_or(0, |b| usize::from(b.to_ascii_lowercase()));
    (octet(0) * 31 + octet(1) * 7 + octet(2) * 3 + word.len()) % SIEVE
}

static PATH: LazyLock<Rules> = LazyLock::new(|| Rules::of(Place::Path));
static KEY: LazyLock<Rules> = LazyLock::new(|| Rules::of(Place::Key));
static URL: LazyLock<Rules> = LazyLock::new(|| Rules::of(Place::Url));
static TEXT: LazyLock<Rules> = LazyLock::new(|| Rules::of(Place::Text));

/// `NAME  WHERE  WORDS`, columns two or more spaces apart.
fn rule(line: &'static str) -> Option<Rule> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let mut columns = line.split("  ").map(str::trim).filter(|column| !column.is_empty());
    let (name, place, words) = (columns.next()?, columns.next()?, columns.next()?);
    let place = match place {
        "path" => Place::Path,
        "key" => Place::Key,
        "url" => Place::Url,
        "text" => Place::Text,
        _ => return None,
    };
    let words = match place {
        // Host, and the beginning of the path.
        Place::Url => words.split_at_checked(words.find('/')?).map(|(host, path)| vec![host, path])?,
        Place::Path | Place::Key | Place::Text => words.split(' ').collect(),
    };
    Some(Rule { name, place, words })
}

/// The name of the first rule that catches the link.
fn sensitive(link: &Link<'_>) -> Option<&'static str> {
    // A page that routes by its fragment has path and query there.
    let target = link.path_and_query.as_bytes();
    let (before, fragment) = cut(target, b'#');
    let by_side = |side: &[u8]| {
        if side.is_empty() {
            return None;
        }
        let (path, query) = cut(side, b'?');
        PATH.by_words(path).or_else(|| by_key(path)).or_else(|| by_key(query))
    };
    by_side(before).or_else(|| by_side(fragment)).or_else(|| by_url(link)).or_else(|| by_text(link.text))
}

/// What stands before and after the first such octet.
fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(found) => (text.get(..found).unwrap_or_default(), text.get(found + 1..).unwrap_or_default()),
        None => (text, b""),
    }
}

/// A rule that names a parameter of the query.
fn by_key(query: &[u8]) -> Option<&'static str> {
    memchr::memchr(b'=', query)?;
    // Where the key that is being read begins; `None` in a value.
    let mut start = Some(0);
    for (at, octet) in query.iter().enumerate() {
        match octet {
            b'&' | b';' => start = Some(at + 1),
            b'=' => {
                let key = start.take().and_then(|start| query.get(start..at));
                let found = key.and_then(named_key);
                if found.is_some() {
                    return found;
                }
            }
            _ => {}
        }
    }
    None
}

fn named_key(key: &[u8]) -> Option<&'static str> {
    if !KEY.first_words.get(sieve(key)).is_some_and(|mark| *mark) {
        return None;
    }
    let named = |rule: &&Rule| rule.words.first().is_some_and(|word| key.eq_ignore_ascii_case(word.as_bytes()));
    KEY.list.iter().find(named).map(|rule| rule.name)
}

fn by_url(link: &Link<'_>) -> Option<&'static str> {
    let caught = |rule: &&Rule| match rule.words.as_slice() {
        [host, start] => {
            let path = link.path_and_query.as_bytes().get(..start.len());
            path.is_some_and(|path| path.eq_ignore_ascii_case(start.as_bytes())) && covers(host, link.host)
        }
        _ => false,
    };
    URL.list.iter().find(caught).map(|rule| rule.name)
}

fn by_text(text: &str) -> Option<&'static str> {
    if text.is_ascii() { TEXT.by_words(text.as_bytes()) } else { TEXT.by_words(text.to_lowercase().as_bytes()) }
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
    fn every_line_of_the_data_is_a_rule() {
        let lines = include_str!("sensitive.txt").lines();
        let written = lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#')).count();
        assert_eq!([&PATH, &KEY, &URL, &TEXT].iter().map(|rules| rules.list.len()).sum::<usize>(), written);
    }

    #[test]
    fn sensitive_links_are_left() {
        let rows: &[(&str, &str, &str)] = &[
            // (url, visible text, rule)
            ("http://x.test/unsubscribe?u=1", "", "unsubscribe"),
            ("http://x.test/Unsub/1", "", "unsubscribe"),
            ("http://x.test/list/opt-out", "", "unsubscribe"),
            ("http://x.test/optout.aspx", "", "unsubscribe"),
            ("http://x.test/abmelden", "", "unsubscribe"),
            ("http://x.test/desinscription", "", "unsubscribe"),
            ("http://x.test/desabonner", "", "unsubscribe"),
            ("http://x.test/?unsubscribe=1", "", "unsubscribe"),
            ("http://x.test/c/8a7f", "Unsubscribe here", "unsubscribe"),
            ("http://x.test/c/8a7f", "Opt out", "unsubscribe"),
            ("http://x.test/c/8a7f", "Se désabonner", "unsubscribe"),
            ("http://x.test/c/8a7f", "Newsletter abbestellen", "unsubscribe"),
            ("http://x.test/c/8a7f", "Darse de baja", "unsubscribe"),
            ("http://x.test/password/reset", "", "password reset"),
            ("http://x.test/users/password/edit?reset_password_token=1", "", "password reset"),
            ("http://x.test/forgot?x=1", "", "password reset"),
            ("http://x.test/a", "Reset your password", "password reset"),
            ("http://x.test/verify-email/123", "", "verification"),
            ("http://x.test/account/confirm/9", "", "verification"),
            ("http://x.test/activate", "", "verification"),
            ("http://x.test/__/auth/action?mode=x&oobCode=abc", "", "verification"),
            ("http://x.test/magic-link/abc", "", "sign-in"),
            ("http://x.test/login?token=abc", "", "sign-in"),
            ("http://x.test/?a=1&Access_Token=abc", "", "sign-in"),
            ("http://x.test/sso/start", "", "sign-in"),
            ("http://x.test/oauth2/authorize", "", "sign-in"),
            ("http://x.test/#access_token=1", "", "sign-in"),
            ("http://x.test/#/reset-password?x=1", "", "password reset"),
            ("http://x.test/invite/abc", "", "invitation"),
            ("http://x.test/workspaces/invitations/1", "", "invitation"),
            ("http://x.test/event/1/rsvp", "", "calendar reply"),
            ("https://calendar.google.com/calendar/event?action=RESPOND&eid=1", "", "calendar reply"),
            ("https://teams.microsoft.com/l/meetup-join/19", "", "calendar reply"),
        ];
        for (url, text, name) in rows {
            assert_eq!(judge(&LinkRules::default(), url, text), Some(format!("{name} link")), "{url} {text}");
        }
    }

    #[test]
    fn ordinary_links_are_not() {
        let rows: &[(&str, &str)] = &[
            // a word only inside another word, in the host, in a value, in the fragment
            ("http://x.test/presets", ""),
            ("http://verify.test/", ""),
            ("http://x.test/?next=verify", ""),
            ("http://x.test/?tokens=3", ""),
            ("http://x.test/?a=token", ""),
            ("http://x.test/#token", ""),
            ("http://x.test/invited-speakers", ""),
            ("http://x.test/option/out", ""),
            ("http://x.test/magical", ""),
            ("http://notcalendar.google.com/calendar/event", ""),
            ("https://calendar.google.com/about", ""),
            // words that only sound alike
            ("http://x.test/a", "Our new subscription"),
            ("http://x.test/a", "How we verify claims"),
            ("http://x.test/blog/why-resets-matter", "Read more"),
            ("http://x.test/?a={}&b={1,2}", ""),
            ("http://x.test/?list[]=1&list[]=2", ""),
        ];
        for (url, text) in rows {
            assert_eq!(judge(&LinkRules::default(), url, text), None, "{url} {text}");
        }
    }

    #[test]
    fn the_organisation_and_the_message_decide() {
        let rules = LinkRules {
            visible_urls: VisibleUrls::Leave,
            excluded_hosts: vec!["example.com".to_owned()],
            list_urls: list_urls("<mailto:x@y>,\r\n <https://l.test/u?\r\n a=1>"),
        };
        assert_eq!(rules.list_urls, ["https://l.test/u?a=1"]);
        let rows: &[(&str, &str, Option<&str>)] = &[
            ("https://l.test/u?a=1", "", Some("it stands in the message's List- header")),
            ("http://Example.com/", "", Some("host example.com is excluded")),
            ("http://a.b.example.com./", "", Some("host example.com is excluded")),
            ("http://notexample.com/", "", None),
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
}
