//! What an organisation sets besides the switches and a sender may narrow for their own mail; and what comes of both.
//!
//! **Invariant:** a sender can only take away (DESIGN, promise 10). Of a value the type has no word for more; a list adds to
//! the organisation's and cannot take an entry off it. What is locked is kept, and counts as if it were not there.

use super::{Keeping, Level, LinkPattern, Org, PlaceDetail, RecipientPattern, Switch, VisibleUrls};

/// Most entries of each list of a sender's own. Patterns of links have their own bound
/// ([`LINK_PATTERNS_MAX`](super::LINK_PATTERNS_MAX)), for each costs every link of every mail.
pub const OWN_LIST_MAX: usize = 200;

/// What a sender asks for. The default follows the organisation in everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnRules {
    /// Links whose visible text is itself another host's URL are left.
    pub leave_visible_urls: bool,
    /// Of a place the country alone is kept.
    pub country_only: bool,
    /// Neither the address nor the whole User-Agent is kept with an event.
    pub no_raw_evidence: bool,
    /// Recipients never tracked, besides the organisation's.
    pub excluded_recipients: Vec<RecipientPattern>,
    /// Link hosts never tracked, besides the organisation's; in the same form.
    pub excluded_hosts: Vec<String>,
    /// Links never tracked, besides the organisation's.
    pub leave_links: Vec<LinkPattern>,
}

/// What the organisation and the sender say together, each answer with the level that decided it: the sender only where it
/// takes something away. Copies nothing.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'s> {
    org: &'s Org,
    own: Option<&'s OwnRules>,
}

impl<'s> Rules<'s> {
    /// For a mail of this organisation by one of its users, who asks for this; `None` for a trusted network.
    pub fn of(org: &'s Org, own: Option<&'s OwnRules>) -> Rules<'s> {
        Rules { org, own }
    }

    /// The organisation.
    pub fn org(self) -> &'s Org {
        self.org
    }

    /// What the sender asks for, locked or not.
    pub fn own(self) -> Option<&'s OwnRules> {
        self.own
    }

    /// The sender's word, unless it is locked.
    fn heard(self, switch: Switch) -> Option<&'s OwnRules> {
        self.own.filter(|_| !self.org.locked.has(switch))
    }

    /// How links whose text is itself a URL are treated.
    pub fn visible_urls(self) -> (VisibleUrls, Level) {
        let narrowed = self.heard(Switch::VisibleUrls).is_some_and(|own| own.leave_visible_urls);
        match self.org.visible_urls {
            VisibleUrls::Track if narrowed => (VisibleUrls::Leave, Level::User),
            of_org => (of_org, Level::Org),
        }
    }

    /// How exactly a place is kept.
    pub fn place(self) -> (PlaceDetail, Level) {
        let narrowed = self.heard(Switch::Place).is_some_and(|own| own.country_only);
        match self.org.keeping.place {
            PlaceDetail::City if narrowed => (PlaceDetail::Country, Level::User),
            of_org => (of_org, Level::Org),
        }
    }

    /// Whether address and raw agent are kept.
    pub fn raw_evidence(self) -> (bool, Level) {
        let narrowed = self.heard(Switch::RawEvidence).is_some_and(|own| own.no_raw_evidence);
        match self.org.keeping.raw_evidence {
            true if narrowed => (false, Level::User),
            of_org => (of_org, Level::Org),
        }
    }

    /// What is kept of the events of this mail's readers.
    pub fn keeping(self) -> Keeping {
        Keeping { place: self.place().0, raw_evidence: self.raw_evidence().0, ..self.org.keeping }
    }

    /// The entry that excludes this address, and whose it is: the organisation's first.
    pub fn excludes(self, address: &str) -> Option<(&'s RecipientPattern, Level)> {
        let own = self.heard(Switch::ExcludedRecipients).map_or(&[][..], |own| &own.excluded_recipients);
        let by_org = RecipientPattern::find(&self.org.excluded_recipients, address).map(|entry| (entry, Level::Org));
        by_org.or_else(|| RecipientPattern::find(own, address).map(|entry| (entry, Level::User)))
    }

    /// Link hosts never tracked, the organisation's first.
    pub fn excluded_hosts(self) -> impl Iterator<Item = (&'s str, Level)> {
        let own = self.heard(Switch::ExcludedHosts).map_or(&[][..], |own| &own.excluded_hosts);
        let of = |level| move |host: &'s String| (host.as_str(), level);
        self.org.excluded_hosts.iter().map(of(Level::Org)).chain(own.iter().map(of(Level::User)))
    }

    /// Patterns of links never tracked, the organisation's first.
    pub fn leave_links(self) -> impl Iterator<Item = (&'s LinkPattern, Level)> {
        let own = self.heard(Switch::LeaveLinks).map_or(&[][..], |own| &own.leave_links);
        let of = |level| move |pattern: &'s LinkPattern| (pattern, level);
        self.org.leave_links.iter().map(of(Level::Org)).chain(own.iter().map(of(Level::User)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESSES: [&str; 3] = ["ann@a.example", "bob@a.example", "cy@b.example"];
    const HOSTS: [&str; 3] = ["a.example", "b.example", "c.example"];

    fn some<T: std::fmt::Debug>(from: &'static [&'static str], read: fn(&str) -> T) -> impl Strategy<Value = Vec<T>> {
        proptest::sample::subsequence(from, 0..=from.len()).prop_map(move |texts| texts.into_iter().map(read).collect())
    }

    prop_compose! {
        fn own()(
            (leave_visible_urls, country_only, no_raw_evidence) in any::<(bool, bool, bool)>(),
            excluded_recipients in some(&ADDRESSES, |text| text.parse().unwrap()),
            excluded_hosts in some(&HOSTS, str::to_owned),
            leave_links in some(&HOSTS, |text| text.parse().unwrap()),
        ) -> OwnRules {
            OwnRules { leave_visible_urls, country_only, no_raw_evidence, excluded_recipients, excluded_hosts, leave_links }
        }
    }

    prop_compose! {
        /// An organisation with values of any kind. Its lists come as what somebody else would ask for.
        fn org()(
            of in own(),
            locks in proptest::collection::vec(proptest::sample::select(&Switch::ALL[..]), 0..5),
        ) -> Org {
            let mut org = Org::named("acme".parse().unwrap());
            org.visible_urls = if of.leave_visible_urls { VisibleUrls::Leave } else { VisibleUrls::Track };
            org.keeping.place = if of.country_only { PlaceDetail::Country } else { PlaceDetail::City };
            org.keeping.raw_evidence = !of.no_raw_evidence;
            org.excluded_recipients = of.excluded_recipients;
            org.excluded_hosts = of.excluded_hosts;
            org.leave_links = of.leave_links;
            org.locked = locks.into_iter().collect();
            org
        }
    }

    /// Everything that is in force, by whoever.
    fn in_force(rules: Rules<'_>) -> (VisibleUrls, Keeping, Vec<bool>, Vec<&str>, Vec<&str>) {
        (
            rules.visible_urls().0,
            rules.keeping(),
            ADDRESSES.iter().map(|address| rules.excludes(address).is_some()).collect(),
            rules.excluded_hosts().map(|(host, _)| host).collect(),
            rules.leave_links().map(|(pattern, _)| pattern.as_str()).collect(),
        )
    }

    proptest! {
        /// Below the organisation there is never more of anything, and who is said to have decided did say it.
        #[test]
        fn a_sender_only_takes_away(org in org(), own in own()) {
            let (above, below) = (Rules::of(&org, None), Rules::of(&org, Some(&own)));
            prop_assert!(below.visible_urls().0 == VisibleUrls::Leave || above.visible_urls().0 == VisibleUrls::Track);
            prop_assert!(below.place().0 <= above.place().0);
            prop_assert!(below.raw_evidence().0 <= above.raw_evidence().0);
            let rest = Keeping { place: above.place().0, raw_evidence: above.raw_evidence().0, ..below.keeping() };
            prop_assert_eq!(rest, above.keeping(), "nothing else of what is kept is a sender's");
            for address in ADDRESSES {
                prop_assert!(above.excludes(address).is_none_or(|found| below.excludes(address) == Some(found)));
            }
            prop_assert!(above.excluded_hosts().all(|one| below.excluded_hosts().any(|other| other == one)));
            prop_assert!(above.leave_links().all(|one| below.leave_links().any(|other| other == one)));
            let (visible, place, raw) = (below.visible_urls().1, below.place().1, below.raw_evidence().1);
            prop_assert_eq!(visible == Level::User, below.visible_urls().0 != above.visible_urls().0);
            prop_assert_eq!(place == Level::User, below.place().0 != above.place().0);
            prop_assert_eq!(raw == Level::User, below.raw_evidence().0 != above.raw_evidence().0);
        }

        /// What is locked is as if it had never been said, whichever way it is asked; nothing else changes by the lock.
        #[test]
        fn a_locked_word_does_not_count(org in org(), own in own(), switch in proptest::sample::select(&Switch::ALL[..])) {
            let locked = Org { locked: org.locked.with(switch), ..org.clone() };
            let mut unsaid = own.clone();
            match switch {
                Switch::VisibleUrls => unsaid.leave_visible_urls = false,
                Switch::Place => unsaid.country_only = false,
                Switch::RawEvidence => unsaid.no_raw_evidence = false,
                Switch::ExcludedRecipients => unsaid.excluded_recipients.clear(),
                Switch::ExcludedHosts => unsaid.excluded_hosts.clear(),
                Switch::LeaveLinks => unsaid.leave_links.clear(),
                Switch::Opens | Switch::Links | Switch::TextLinks | Switch::Shadow => {}
            }
            prop_assert_eq!(in_force(Rules::of(&locked, Some(&own))), in_force(Rules::of(&org, Some(&unsaid))));
        }
    }
}
