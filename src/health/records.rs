//! What the DNS says about mail of a domain: SPF, DKIM, DMARC. Hints: waxseal relays, so SPF is about upstream's
//! addresses and DKIM is upstream's signature. [`judge`] is pure.
//!
//! **Invariant:** nothing here fails: mail of such a domain is delivered, or not, by what others make of it.

use super::dns::{NoAnswer, Resolver, Texts};
use super::report::{Area, Check};

const SPF: &str = "domains.spf";
const DKIM: &str = "domains.dkim";
const DMARC: &str = "domains.dmarc";
/// Look-ups that an SPF record may cost (RFC 7208 §4.6.4).
const SPF_LOOKUPS_MAX: usize = 10;
/// Labels of a domain that are walked up for a DMARC record (RFC 9091, DMARCbis §4.10).
const WALK_MAX: usize = 5;

/// What was asked about one domain, and answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Records {
    /// TXT of the domain.
    pub spf: Result<Texts, NoAnswer>,
    /// TXT of `_domainkey.`: only whether there is anything.
    pub dkim: Result<Texts, NoAnswer>,
    /// The nearest DMARC record going up, with its domain.
    pub dmarc: Result<Option<(String, String)>, NoAnswer>,
}

/// Whether a domain is one of the internet's, that others look up.
pub fn is_public(domain: &str) -> bool {
    domain.contains('.') && domain.rsplit('.').next().is_some_and(|top| top != "localhost" && top != "local")
}

/// Asks.
pub async fn look(domain: &str, resolver: &dyn Resolver) -> Records {
    let keys = format!("_domainkey.{domain}");
    let (spf, dkim, dmarc) = tokio::join!(resolver.texts(domain), resolver.texts(&keys), dmarc(domain, resolver));
    Records { spf, dkim, dmarc }
}

async fn dmarc(domain: &str, resolver: &dyn Resolver) -> Result<Option<(String, String)>, NoAnswer> {
    let mut at = domain;
    for _ in 0..WALK_MAX {
        if let Texts::Found(texts) = resolver.texts(&format!("_dmarc.{at}")).await?
            && let Some(record) = texts.into_iter().find(|text| has_tag(text, "v=DMARC1"))
        {
            return Ok(Some((at.to_owned(), record)));
        }
        match at.split_once('.') {
            Some((_, above)) if above.contains('.') => at = above,
            _ => break,
        }
    }
    Ok(None)
}

/// What the answers mean for mail that leaves through `upstream`.
pub fn judge(domain: &str, records: &Records, upstream: &str) -> Vec<Check> {
    let checks = [spf(domain, &records.spf, upstream), dkim(domain, &records.dkim), dmarc_of(domain, &records.dmarc)];
    checks.into_iter().map(|check| check.about(domain)).collect()
}

fn unanswered(name: &'static str, error: &NoAnswer) -> Check {
    let fix = "give this machine a name server: /etc/resolv.conf, or [dns] servers";
    Check::unknown(Area::Domains, name, format!("the DNS cannot be asked: {error}"), fix)
}

fn spf(domain: &str, answer: &Result<Texts, NoAnswer>, upstream: &str) -> Check {
    let texts = match answer {
        Err(error) => return unanswered(SPF, error),
        Ok(Texts::Found(texts)) => texts.as_slice(),
        Ok(Texts::NoText | Texts::NoName) => &[],
    };
    let records: Vec<&String> = texts.iter().filter(|text| has_tag(text, "v=spf1")).collect();
    let warn = |seen: String, fix: String| Check::warn(Area::Domains, SPF, seen, fix);
    match records.as_slice() {
        [] => warn(
            format!("{domain} has no SPF record: receivers cannot tell your mail from others' in your name"),
            format!(
                "publish the TXT record that the provider of {upstream} asks for, e.g. v=spf1 include:spf.provider.example -all"
            ),
        ),
        [record] => spf_record(record, upstream),
        several => warn(
            format!("{domain} has {} SPF records: receivers take that for an error (RFC 7208 §4.5)", several.len()),
            "make one record of them".to_owned(),
        ),
    }
}

fn spf_record(record: &str, upstream: &str) -> Check {
    let terms = || record.split_ascii_whitespace().skip(1).map(str::to_ascii_lowercase);
    let all = terms().find(|term| term.trim_start_matches(['+', '-', '~', '?']) == "all");
    let costs = |term: &String| {
        let bare = term.trim_start_matches(['+', '-', '~', '?']);
        let name = bare.split([':', '=', '/']).next().unwrap_or_default();
        ["include", "a", "mx", "ptr", "exists", "redirect"].contains(&name)
    };
    let lookups = terms().filter(costs).count();
    let warn = |seen: String, fix: &str| Check::warn(Area::Domains, SPF, seen, fix);
    if matches!(all.as_deref(), Some("all" | "+all")) {
        return warn(format!("{record}: allows everybody to send in your name"), "end it with -all or ~all");
    }
    if lookups > SPF_LOOKUPS_MAX {
        let seen = format!(
            "the SPF record asks for {lookups} look-ups and more: receivers stop at {SPF_LOOKUPS_MAX} (RFC 7208 §4.6.4)"
        );
        return warn(seen, "name fewer includes, or addresses instead");
    }
    let seen = format!("{record}: whether it covers the addresses that {upstream} sends from, its provider says");
    Check::ok(Area::Domains, SPF, seen)
}

fn dkim(domain: &str, answer: &Result<Texts, NoAnswer>) -> Check {
    match answer {
        Err(error) => unanswered(DKIM, error),
        Ok(Texts::NoName) => Check::warn(
            Area::Domains,
            DKIM,
            format!("there is nothing under _domainkey.{domain}: no mail of this domain carries its own signature"),
            "switch DKIM on for this domain at upstream's provider, and publish the records it names",
        ),
        Ok(Texts::Found(_) | Texts::NoText) => Check::ok(
            Area::Domains,
            DKIM,
            format!("there are keys under _domainkey.{domain}; a delivered mail shows whether upstream signs with one"),
        ),
    }
}

fn dmarc_of(domain: &str, answer: &Result<Option<(String, String)>, NoAnswer>) -> Check {
    match answer {
        Err(error) => unanswered(DMARC, error),
        Ok(None) => Check::warn(
            Area::Domains,
            DMARC,
            format!("{domain} has no DMARC record: large providers want one from whoever sends many mails"),
            format!("publish a TXT record at _dmarc.{domain}: v=DMARC1; p=none; rua=mailto:postmaster@{domain}"),
        ),
        Ok(Some((at, record))) => {
            let policy = record.split(';').filter_map(|tag| tag.trim().split_once('='));
            let mut policy = policy.filter(|(name, _)| name.trim().eq_ignore_ascii_case("p"));
            match policy.next().map(|(_, value)| value.trim().to_ascii_lowercase()).as_deref() {
                Some(policy @ ("none" | "quarantine" | "reject")) => {
                    Check::ok(Area::Domains, DMARC, format!("_dmarc.{at} says p={policy}"))
                }
                _ => Check::warn(
                    Area::Domains,
                    DMARC,
                    format!("_dmarc.{at} has no policy that can be read"),
                    "let it say p=none, p=quarantine or p=reject",
                ),
            }
        }
    }
}

/// Whether a record begins with this tag, alone or before a blank or a semicolon.
fn has_tag(text: &str, tag: &str) -> bool {
    let rest = text.get(..tag.len()).filter(|begin| begin.eq_ignore_ascii_case(tag)).and(text.get(tag.len()..));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', ';']))
}

#[cfg(test)]
mod tests {
    use super::super::dns::Told;
    use super::super::report::State;
    use super::*;

    /// A name and its texts.
    type Row = (&'static str, &'static [&'static str]);

    fn told(rows: &[Row]) -> Told {
        let found = |texts: &[&str]| match texts {
            [] => Texts::NoText,
            texts => Texts::Found(texts.iter().map(|&text| text.to_owned()).collect()),
        };
        Told { texts: rows.iter().map(|(name, texts)| ((*name).to_owned(), found(texts))).collect(), ..Told::default() }
    }

    async fn states(dns: &Told) -> Vec<(State, String)> {
        let checks = judge("a.example.com", &look("a.example.com", dns).await, "smtp.example.net");
        assert!(checks.iter().all(|check| (check.state <= State::Skipped) == check.fix.is_empty()), "{checks:?}");
        checks.into_iter().map(|check| (check.state, check.seen)).collect()
    }

    #[tokio::test]
    async fn records_and_what_they_mean() {
        use State::{Ok, Warn};
        const D: &str = "a.example.com";
        const K: &str = "_domainkey.a.example.com";
        const M: &str = "_dmarc.a.example.com";
        let rows: &[(&[Row], [State; 3], &str)] = &[
            // all is there
            (
                &[(D, &["x", "v=spf1 include:x.example ~all"]), (K, &[]), (M, &["v=DMARC1; p=reject"])],
                [Ok; 3],
                "p=reject",
            ),
            // nothing is there
            (&[], [Warn; 3], "no SPF record"),
            // what only looks like it
            (&[(D, &["v=spf10 -all"]), (M, &["v=DMARC"])], [Warn; 3], "no DMARC record"),
            // two are none
            (
                &[(D, &["v=spf1 -all", "V=SPF1 ~all"]), (K, &[]), (M, &["v=DMARC1;p=none"])],
                [Warn, Ok, Ok],
                "2 SPF records",
            ),
            (&[(D, &["v=spf1 +all"]), (K, &[]), (M, &["v=DMARC1;p=none"])], [Warn, Ok, Ok], "everybody"),
            (
                &[
                    (
                        D,
                        &[
                            "v=spf1 a mx a:b include:1 include:2 include:3 include:4 include:5 include:6 include:7 include:8 -all",
                        ],
                    ),
                    (K, &[]),
                    (M, &["v=DMARC1;p=none"]),
                ],
                [Warn, Ok, Ok],
                "11 look-ups",
            ),
            // the domain above speaks for it
            (
                &[(D, &["v=spf1 -all"]), (K, &[]), ("_dmarc.example.com", &["v=DMARC1; p=quarantine"])],
                [Ok; 3],
                "_dmarc.example.com",
            ),
            // the registry does not
            (&[(D, &["v=spf1 -all"]), (K, &[]), ("_dmarc.com", &["v=DMARC1; p=reject"])], [Ok, Ok, Warn], "no DMARC"),
            (&[(D, &["v=spf1 -all"]), (K, &[]), (M, &["v=DMARC1; rua=mailto:x@y"])], [Ok, Ok, Warn], "no policy"),
        ];
        for (records, expected, words) in rows {
            let seen = states(&told(records)).await;
            assert_eq!(seen.iter().map(|(state, _)| *state).collect::<Vec<_>>(), expected, "{records:?} {seen:?}");
            assert!(seen.iter().any(|(_, seen)| seen.contains(words)), "{words}: {seen:?}");
        }
    }

    /// Nothing is claimed to be missing when nobody answers.
    #[tokio::test]
    async fn without_a_network_nothing_is_known() {
        let seen = states(&Told { silent: true, ..Told::default() }).await;
        assert!(
            seen.iter().all(|(state, words)| *state == State::Unknown && words.contains("no name server")),
            "{seen:?}"
        );
    }

    #[test]
    fn names_of_the_internet() {
        for (domain, expected) in
            [("example.com", true), ("localhost", false), ("a.localhost", false), ("printer.local", false)]
        {
            assert_eq!(is_public(domain), expected, "{domain}");
        }
    }
}
