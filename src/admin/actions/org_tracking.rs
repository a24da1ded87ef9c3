//! What an organisation never tracks, what its users may not turn, and shadow mode: what may be changed, and to what.

use super::Refusal;
use crate::policy::sensitive;
use crate::settings::{LINK_PATTERNS_MAX, LinkPattern, Managed, Org, RECIPIENTS_MAX, RecipientPattern, Switch};

/// Bytes of all lists of one organisation: the store keeps its settings as one value of 32 KiB.
const LISTS_BYTES_MAX: usize = 24 << 10;

/// What to change, as it was typed; `None` leaves as it is. Lists are whole lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RulesPatch {
    /// Addresses and domains.
    pub excluded_recipients: Option<Vec<String>>,
    /// Names of rules about sensitive links.
    pub sensitive_off: Option<Vec<String>>,
    /// Patterns of links.
    pub leave_links: Option<Vec<String>>,
    /// Names of switches.
    pub locked: Option<Vec<String>>,
    /// Mail leaves as it came, and what would have been tracked is told.
    pub shadow: Option<bool>,
}

impl RulesPatch {
    /// Refused where it would change a value of config.toml.
    pub(super) fn not_managed(&self, managed: Managed) -> Result<(), Refusal> {
        let rows = [
            (managed.excluded_recipients && self.excluded_recipients.is_some(), "excluded_recipients"),
            (managed.sensitive_off && self.sensitive_off.is_some(), "sensitive_off"),
            (managed.leave_links && self.leave_links.is_some(), "leave_links"),
            (managed.locked && self.locked.is_some(), "locked"),
            (managed.shadow && self.shadow.is_some(), "shadow"),
        ];
        match rows.into_iter().find(|(wrong, _)| *wrong) {
            Some((_, field)) => Err(Refusal::Managed { field }),
            None => Ok(()),
        }
    }

    /// Changes the organisation, or says which value is wrong.
    pub(super) fn apply(&self, org: &mut Org) -> Result<(), Refusal> {
        if let Some(typed) = &self.excluded_recipients {
            let read = |text: &str| text.parse::<RecipientPattern>().map_err(|why| format!("{text}: {why}"));
            org.excluded_recipients = each_once("excluded_recipients", typed, RECIPIENTS_MAX, read)?;
        }
        if let Some(typed) = &self.leave_links {
            let read = |text: &str| text.parse::<LinkPattern>().map_err(|why| format!("{text}: {why}"));
            org.leave_links = each_once("leave_links", typed, LINK_PATTERNS_MAX, read)?;
        }
        if let Some(typed) = &self.sensitive_off {
            let all = sensitive::switches();
            let read = |text: &str| all.iter().find(|name| **name == text).copied().ok_or_else(|| none_of(text, &all));
            let off = each_once("sensitive_off", typed, all.len(), read)?;
            org.sensitive_off = all.iter().filter(|name| off.contains(name)).map(|name| (*name).to_owned()).collect();
        }
        if let Some(typed) = &self.locked {
            let read = |text: &str| Switch::parse(text).ok_or_else(|| none_of(text, &Switch::ALL.map(Switch::as_str)));
            org.locked = each_once("locked", typed, Switch::ALL.len(), read)?.into_iter().collect();
        }
        org.shadow = self.shadow.unwrap_or(org.shadow);
        Ok(())
    }
}

/// Refused when the lists of an organisation are too much together.
pub(super) fn lists_fit(org: &Org) -> Result<(), Refusal> {
    let texts = [&org.excluded_hosts, &org.domains, &org.former_urls].into_iter().flatten().map(String::len);
    let recipients = org.excluded_recipients.iter().map(|one| one.as_str().len());
    let links = org.leave_links.iter().map(|one| one.as_str().len());
    let networks = org.own_networks.iter().map(|network| network.to_string().len());
    // Each stands between quotes, with a comma.
    let bytes: usize = texts.chain(recipients).chain(links).chain(networks).map(|len| len + 3).sum();
    if bytes > LISTS_BYTES_MAX {
        return Err(Refusal::invalid(
            "excluded_hosts",
            format!("the lists of an organisation may have {LISTS_BYTES_MAX} bytes together; these have {bytes}"),
        ));
    }
    Ok(())
}

fn none_of(text: &str, all: &[&str]) -> String {
    format!("{text:?} is none of {}", all.join(", "))
}

/// Trimmed, blanks dropped, each once, in the order typed.
pub(super) fn each_once<T: PartialEq>(
    field: &'static str,
    typed: &[String],
    most: usize,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Refusal> {
    let mut all: Vec<T> = Vec::new();
    for text in typed.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
        let one = read(text).map_err(|detail| Refusal::invalid(field, detail))?;
        if !all.contains(&one) {
            all.push(one);
        }
    }
    if all.len() > most {
        return Err(Refusal::invalid(field, format!("at most {most} are kept")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(typed: &[&str]) -> Option<Vec<String>> {
        Some(typed.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn what_is_typed_is_kept_as_it_is_compared() {
        let mut org = Org::named("acme".parse().unwrap());
        let patch = RulesPatch {
            excluded_recipients: words(&[" Press@News.Example ", "press@news.example", "", "partner.example"]),
            sensitive_off: words(&["calendar-reply", "token", "token"]),
            leave_links: words(&["Portal.example", "portal.example/"]),
            locked: words(&["links", "opens"]),
            shadow: Some(true),
        };
        patch.apply(&mut org).unwrap();
        let recipients: Vec<&str> = org.excluded_recipients.iter().map(RecipientPattern::as_str).collect();
        assert_eq!(recipients, ["press@news.example", "partner.example"]);
        assert_eq!(org.sensitive_off, ["token", "calendar-reply"], "in the order of the data");
        assert_eq!((org.leave_links.len(), org.locked.names(), org.shadow), (1, vec!["opens", "links"], true));
        // what is not there stays
        let before = org.clone();
        RulesPatch::default().apply(&mut org).unwrap();
        assert_eq!(org, before);
    }

    #[test]
    fn what_is_wrong_says_what_would_be_right() {
        let many: Vec<String> = (0..=LINK_PATTERNS_MAX).map(|n| format!("host{n}.example")).collect();
        let rows = [
            (RulesPatch { sensitive_off: words(&["reset"]), ..RulesPatch::default() }, "none of password-reset"),
            (RulesPatch { sensitive_off: words(&["unsubscribe"]), ..RulesPatch::default() }, "none of password-reset"),
            (RulesPatch { locked: words(&["footer"]), ..RulesPatch::default() }, "none of opens, links"),
            (
                RulesPatch { leave_links: words(&["https://a.example/"]), ..RulesPatch::default() },
                "leave https:// away",
            ),
            (RulesPatch { leave_links: Some(many), ..RulesPatch::default() }, "at most 100"),
            (RulesPatch { excluded_recipients: words(&["Ann <a@b.example>"]), ..RulesPatch::default() }, "an address"),
        ];
        for (patch, expected) in rows {
            let error = patch.apply(&mut Org::named("acme".parse().unwrap())).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let long = format!("{}.example", "x".repeat(60));
        let mut org = Org::named("acme".parse().unwrap());
        org.excluded_hosts = vec![long; 1000];
        assert!(lists_fit(&org).is_err(), "more than the store takes");
        org.excluded_hosts.truncate(100);
        assert!(lists_fit(&org).is_ok());
    }

    /// Each value of config.toml is refused by its own name.
    #[test]
    fn what_config_toml_manages_stays() {
        let all = RulesPatch {
            excluded_recipients: words(&[]),
            sensitive_off: words(&[]),
            leave_links: words(&[]),
            locked: words(&[]),
            shadow: Some(false),
        };
        for name in ["excluded_recipients", "sensitive_off", "leave_links", "locked", "shadow"] {
            let mut managed = Managed::default();
            assert!(managed.mark(name));
            let refused = all.not_managed(managed).unwrap_err();
            assert!(matches!(refused, Refusal::Managed { field } if field == name), "{refused}");
            assert!(RulesPatch::default().not_managed(managed).is_ok());
        }
    }
}
