//! What a user asks for below their organisation besides the switches: what may be asked, and that it stays small.

use super::Refusal;
use super::org_tracking::each_once;
use super::orgs::hosts_fit;
use crate::settings::{LINK_PATTERNS_MAX, LinkPattern, OWN_LIST_MAX, OwnRules, RecipientPattern, Switch, User};

/// Bytes of all lists of one user: the store keeps a user as one value of 32 KiB. The most addresses there may be fit in alone.
const LISTS_BYTES_MAX: usize = 28 << 10;

/// What to change, lists as they were typed; `None` leaves as it is. Of the flags, `Some(false)` means: follow the
/// organisation, live. Lists are whole lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnRulesPatch {
    /// Links whose text is itself a URL are left.
    pub leave_visible_urls: Option<bool>,
    /// Of a place the country alone is kept.
    pub country_only: Option<bool>,
    /// Neither address nor raw agent is kept.
    pub no_raw_evidence: Option<bool>,
    /// Addresses and domains.
    pub excluded_recipients: Option<Vec<String>>,
    /// Hosts of links.
    pub excluded_hosts: Option<Vec<String>>,
    /// Patterns of links.
    pub leave_links: Option<Vec<String>>,
}

impl OwnRulesPatch {
    /// Whether it says anything of this one.
    pub(super) fn asks(&self, switch: Switch) -> bool {
        match switch {
            Switch::VisibleUrls => self.leave_visible_urls.is_some(),
            Switch::Place => self.country_only.is_some(),
            Switch::RawEvidence => self.no_raw_evidence.is_some(),
            Switch::ExcludedRecipients => self.excluded_recipients.is_some(),
            Switch::ExcludedHosts => self.excluded_hosts.is_some(),
            Switch::LeaveLinks => self.leave_links.is_some(),
            Switch::Opens | Switch::Links | Switch::TextLinks | Switch::Shadow => false,
        }
    }

    /// Changes them, or says which value is wrong.
    pub(super) fn apply(&self, own: &mut OwnRules) -> Result<(), Refusal> {
        own.leave_visible_urls = self.leave_visible_urls.unwrap_or(own.leave_visible_urls);
        own.country_only = self.country_only.unwrap_or(own.country_only);
        own.no_raw_evidence = self.no_raw_evidence.unwrap_or(own.no_raw_evidence);
        if let Some(typed) = &self.excluded_recipients {
            let read = |text: &str| text.parse::<RecipientPattern>().map_err(|why| format!("{text}: {why}"));
            own.excluded_recipients = each_once("excluded_recipients", typed, OWN_LIST_MAX, read)?;
        }
        if let Some(typed) = &self.excluded_hosts {
            own.excluded_hosts = hosts_fit("excluded_hosts", typed, OWN_LIST_MAX)?;
        }
        if let Some(typed) = &self.leave_links {
            let read = |text: &str| text.parse::<LinkPattern>().map_err(|why| format!("{text}: {why}"));
            own.leave_links = each_once("leave_links", typed, LINK_PATTERNS_MAX, read)?;
        }
        Ok(())
    }
}

/// Refused when the lists of a user are too much together.
pub(super) fn lists_fit(field: &'static str, user: &User) -> Result<(), Refusal> {
    let texts = user.own.excluded_hosts.iter().chain(&user.addresses).map(String::as_str);
    let recipients = user.own.excluded_recipients.iter().map(RecipientPattern::as_str);
    let links = user.own.leave_links.iter().map(LinkPattern::as_str);
    // Each stands between quotes, with a comma; what is a quote itself is escaped.
    let room = |text: &str| text.len() + text.matches(['"', '\\']).count() + 3;
    let bytes: usize = texts.chain(recipients).chain(links).map(room).sum();
    if bytes > LISTS_BYTES_MAX {
        let detail = format!(
            "a user's lists and addresses may have {LISTS_BYTES_MAX} bytes together, and these have {bytes}: name whole domains, or take entries away"
        );
        return Err(Refusal::invalid(field, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Role;

    fn words(typed: &[&str]) -> Option<Vec<String>> {
        Some(typed.iter().map(|text| (*text).to_owned()).collect())
    }

    fn many(count: usize, ending: &str) -> Option<Vec<String>> {
        Some((0..count).map(|n| format!("host{n}{ending}")).collect())
    }

    #[test]
    fn what_is_typed_is_kept_as_it_is_compared() {
        let mut own = OwnRules::default();
        let patch = OwnRulesPatch {
            leave_visible_urls: Some(true),
            country_only: Some(true),
            no_raw_evidence: Some(true),
            excluded_recipients: words(&[" Press@News.Example ", "press@news.example", "", "partner.example"]),
            excluded_hosts: words(&["Shop.Example.", "shop.example"]),
            leave_links: words(&["Portal.example", "portal.example/"]),
        };
        patch.apply(&mut own).unwrap();
        let recipients: Vec<&str> = own.excluded_recipients.iter().map(RecipientPattern::as_str).collect();
        assert_eq!(recipients, ["press@news.example", "partner.example"]);
        assert_eq!((own.excluded_hosts.as_slice(), own.leave_links.len()), (&["shop.example".to_owned()][..], 1));
        assert!(own.leave_visible_urls && own.country_only && own.no_raw_evidence);
        // what is not there stays; an empty list empties
        let before = own.clone();
        OwnRulesPatch::default().apply(&mut own).unwrap();
        assert_eq!(own, before);
        let empty = OwnRulesPatch { excluded_hosts: words(&[]), country_only: Some(false), ..OwnRulesPatch::default() };
        empty.apply(&mut own).unwrap();
        assert_eq!(own, OwnRules { excluded_hosts: Vec::new(), country_only: false, ..before });
    }

    #[test]
    fn what_is_wrong_says_what_would_be_right() {
        let none = OwnRulesPatch::default;
        let rows = [
            (OwnRulesPatch { excluded_recipients: words(&["Ann <a@b.example>"]), ..none() }, "write an address"),
            (OwnRulesPatch { excluded_recipients: many(201, "@x.example"), ..none() }, "at most 200 are kept"),
            (OwnRulesPatch { excluded_hosts: words(&["https://a.example"]), ..none() }, "is no host name"),
            (OwnRulesPatch { excluded_hosts: many(201, ".example"), ..none() }, "at most 200 are kept"),
            (OwnRulesPatch { leave_links: words(&["https://a.example/"]), ..none() }, "leave https:// away"),
            (OwnRulesPatch { leave_links: many(101, ".example"), ..none() }, "at most 100 are kept"),
        ];
        for (patch, expected) in rows {
            let error = patch.apply(&mut OwnRules::default()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let full = OwnRulesPatch { excluded_hosts: many(200, ".example"), ..none() };
        assert!(full.apply(&mut OwnRules::default()).is_ok());
    }

    #[test]
    fn a_user_stays_small_enough_to_be_kept() {
        let mut ann = User::new("ann".into(), None, Role::Sender, String::new());
        let long = "x".repeat(60);
        ann.own.excluded_hosts = vec![format!("{long}.{long}.example"); 200];
        assert!(lists_fit("excluded_hosts", &ann).is_ok());
        ann.own.excluded_recipients = vec![format!("{long}@{long}.example").parse().unwrap(); 20];
        let wrong = lists_fit("excluded_recipients", &ann).unwrap_err().to_string();
        assert!(wrong.contains("name whole domains"), "{wrong}");
        // what is kept beside them counts, and a quote counts twice
        ann.own = OwnRules::default();
        ann.addresses = vec![format!("{}@{long}.{long}.example", "a".repeat(120)); 100];
        assert!(lists_fit("addresses", &ann).is_ok(), "the most addresses fit in alone");
        ann.addresses = vec!["\"".repeat(254); 60];
        assert!(lists_fit("addresses", &ann).is_err());
    }
}
