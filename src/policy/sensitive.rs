//! Links that a person would be hurt by if they were tracked: password resets, sign-ins, invitations.
//!
//! The rules are data (`sensitive.txt`); this file matches them. An organisation switches them off by name, but for
//! `unsubscribe`: whoever says no must not be recorded for saying it.
//!
//! **Invariant:** a link is caught only by a rule whose words it has, and every rule can be named.

use std::sync::LazyLock;

use super::links::{Link, covers};

/// The rule that is never switched off.
const ALWAYS: &str = "unsubscribe";

/// Which of the shipped rules count. By default all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Switched {
    off: Vec<&'static str>,
}

impl Switched {
    /// All but those of these names; a name of no rule switches nothing.
    pub fn without(names: &[String]) -> Switched {
        let off = SWITCHES.iter().filter(|(switch, _)| names.contains(switch));
        Switched { off: off.map(|(_, rule)| *rule).collect() }
    }

    fn counts(&self, rule: &Rule) -> bool {
        !self.off.contains(&rule.name)
    }
}

/// The names by which rules are switched, in the order of the data: `password-reset`.
pub fn switches() -> Vec<&'static str> {
    SWITCHES.iter().map(|(switch, _)| switch.as_str()).collect()
}

/// Each switch and the name of its rules, once.
static SWITCHES: LazyLock<Vec<(String, &'static str)>> = LazyLock::new(|| {
    let mut names = Vec::new();
    for rule in include_str!("sensitive.txt").lines().filter_map(rule) {
        if rule.name != ALWAYS && !names.contains(&rule.name) {
            names.push(rule.name);
        }
    }
    names.into_iter().map(|name| (name.replace(' ', "-"), name)).collect()
});

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
    fn named(&self, text: &[u8], first_len: usize, switched: &Switched) -> Option<&'static str> {
        let first = text.get(..first_len)?;
        if !self.first_words.get(sieve(first)).is_some_and(|mark| *mark) {
            return None;
        }
        let matches = |rule: &&Rule| {
            let mut here = words(text);
            switched.counts(rule)
                && rule
                    .words
                    .iter()
                    .all(|word| here.next().is_some_and(|other| other.eq_ignore_ascii_case(word.as_bytes())))
        };
        self.list.iter().find(matches).map(|rule| rule.name)
    }

    /// The first rule whose words stand in a row in the text.
    fn by_words(&self, text: &[u8], switched: &Switched) -> Option<&'static str> {
        let mut rest = text;
        while let Some(start) = rest.iter().position(|b| is_letter(*b)) {
            let word = rest.get(start..)?;
            let len = word.iter().position(|b| !is_letter(*b)).unwrap_or(word.len());
            if let Some(name) = self.named(word, len, switched) {
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

/// The name of the first rule that catches the link and is not switched off.
pub(super) fn sensitive(link: &Link<'_>, switched: &Switched) -> Option<&'static str> {
    // A page that routes by its fragment has path and query there.
    let target = link.path_and_query.as_bytes();
    let (before, fragment) = cut(target, b'#');
    let by_side = |side: &[u8]| {
        if side.is_empty() {
            return None;
        }
        let (path, query) = cut(side, b'?');
        PATH.by_words(path, switched).or_else(|| by_key(path, switched)).or_else(|| by_key(query, switched))
    };
    by_side(before)
        .or_else(|| by_side(fragment))
        .or_else(|| by_url(link, switched))
        .or_else(|| by_text(link.text, switched))
}

/// What stands before and after the first such octet.
fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match memchr::memchr(at, text) {
        Some(found) => (text.get(..found).unwrap_or_default(), text.get(found + 1..).unwrap_or_default()),
        None => (text, b""),
    }
}

/// A rule that names a parameter of the query.
fn by_key(query: &[u8], switched: &Switched) -> Option<&'static str> {
    memchr::memchr(b'=', query)?;
    // Where the key that is being read begins; `None` in a value.
    let mut start = Some(0);
    for (at, octet) in query.iter().enumerate() {
        match octet {
            b'&' | b';' => start = Some(at + 1),
            b'=' => {
                let key = start.take().and_then(|start| query.get(start..at));
                let found = key.and_then(|key| named_key(key, switched));
                if found.is_some() {
                    return found;
                }
            }
            _ => {}
        }
    }
    None
}

fn named_key(key: &[u8], switched: &Switched) -> Option<&'static str> {
    if !KEY.first_words.get(sieve(key)).is_some_and(|mark| *mark) {
        return None;
    }
    let same = |word: &&str| key.eq_ignore_ascii_case(word.as_bytes());
    let named = |rule: &&Rule| switched.counts(rule) && rule.words.first().is_some_and(same);
    KEY.list.iter().find(named).map(|rule| rule.name)
}

fn by_url(link: &Link<'_>, switched: &Switched) -> Option<&'static str> {
    let caught = |rule: &&Rule| match rule.words.as_slice() {
        [host, start] if switched.counts(rule) => {
            let path = link.path_and_query.as_bytes().get(..start.len());
            path.is_some_and(|path| path.eq_ignore_ascii_case(start.as_bytes())) && covers(host, link.host)
        }
        _ => false,
    };
    URL.list.iter().find(caught).map(|rule| rule.name)
}

fn by_text(text: &str, switched: &Switched) -> Option<&'static str> {
    if text.is_ascii() {
        TEXT.by_words(text.as_bytes(), switched)
    } else {
        TEXT.by_words(text.to_lowercase().as_bytes(), switched)
    }
}

#[cfg(test)]
mod tests {
    use super::super::LinkRules;
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
            ("http://x.test/login?token=abc", "", "token"),
            ("http://x.test/?a=1&Access_Token=abc", "", "token"),
            ("http://x.test/sso/start", "", "single sign-on"),
            ("http://x.test/oauth2/authorize", "", "single sign-on"),
            ("http://x.test/#access_token=1", "", "token"),
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

    /// A rule that is off catches nothing, and the next one that fits decides.
    #[test]
    fn an_organisation_switches_rules_off_by_name() {
        let all =
            ["password-reset", "verification", "sign-in", "token", "single-sign-on", "invitation", "calendar-reply"];
        assert_eq!(switches(), all);
        let links = [
            ("http://x.test/password/reset", "", "password reset"),
            ("http://x.test/verify", "", "verification"),
            ("http://x.test/magic/link", "", "sign-in"),
            ("http://x.test/?token=1", "", "token"),
            ("http://x.test/sso", "", "single sign-on"),
            ("http://x.test/a", "Accept invitation", "invitation"),
            ("https://calendar.google.com/calendar/event?x", "", "calendar reply"),
        ];
        for (off, (url, text, name)) in all.iter().zip(links) {
            let rules = |names: &[&str]| LinkRules {
                switched: Switched::without(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()),
                ..LinkRules::default()
            };
            assert_eq!(judge(&rules(&[]), url, text), Some(format!("{name} link")));
            assert_eq!(judge(&rules(&[off]), url, text), None, "{off}");
            let others: Vec<&str> = all.iter().copied().filter(|other| other != off).collect();
            assert_eq!(judge(&rules(&others), url, text), Some(format!("{name} link")), "only {off}");
        }
        let off = |names: &[&str]| LinkRules {
            switched: Switched::without(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()),
            ..LinkRules::default()
        };
        let reset = "http://x.test/reset?token=1";
        assert_eq!(judge(&off(&["password-reset"]), reset, "").as_deref(), Some("token link"));
        assert_eq!(judge(&off(&["unsubscribe"]), "http://x.test/unsubscribe", "").as_deref(), Some("unsubscribe link"));
        assert_eq!(Switched::without(&["reset".to_owned()]), Switched::default(), "no such name");
    }
}
