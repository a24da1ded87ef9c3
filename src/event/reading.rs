//! What one recipient's events come to, for the pages: read or not, how we know, and whether others seem to read along.
//!
//! **Invariant:** nothing is invented. Who clicked has read, and that is said as a conclusion, never as an open.

use super::{Event, EventKind, Verdict};

/// More networks than this on one recipient's token is more than office, home and phone.
const NETWORKS_MAX: usize = 3;

/// Whether a recipient has read the mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Read {
    /// Nothing says so.
    #[default]
    No,
    /// No open is on record, but a link was followed: "read (inferred)".
    Inferred,
    /// It was opened.
    Opened,
}

impl Read {
    /// As shown by the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Read::No => "no",
            Read::Inferred => "inferred",
            Read::Opened => "opened",
        }
    }
}

/// What is known of one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reading {
    /// Whether the mail was read.
    pub read: Read,
    /// Whether a link was followed.
    pub clicked: bool,
    /// Two countries or more, or more than three networks: "forwarded or shared?". A question, not an answer. `None`: what
    /// would show it may be forgotten.
    pub shared: Option<bool>,
}

impl Reading {
    /// What was counted of one recipient's own copy: whether anybody opened it and followed a link, and in how many countries
    /// and networks that was.
    pub fn of(opened: bool, clicked: bool, countries: usize, networks: usize) -> Reading {
        let read = match (opened, clicked) {
            (true, _) => Read::Opened,
            (false, true) => Read::Inferred,
            (false, false) => Read::No,
        };
        Reading { read, clicked, shared: Some(countries >= 2 || networks > NETWORKS_MAX) }
    }

    /// Of so many events some are forgotten: what the others do not show may have been. One alone shows nothing anyway.
    pub fn with_forgotten(self, events: i64) -> Reading {
        let is_known = |shared: &bool| *shared || events < 2;
        Reading { shared: self.shared.filter(is_known), ..self }
    }
}

/// Reads the events of one recipient's own copy, in any order.
pub fn reading<'a>(events: impl IntoIterator<Item = &'a Event>) -> Reading {
    let (mut opened, mut clicked) = (false, false);
    let mut countries: Vec<&str> = Vec::new();
    let mut networks: Vec<[u8; 8]> = Vec::new();
    for event in events.into_iter().filter(|event| event.verdict.counts()) {
        match event.kind {
            EventKind::Open => opened = true,
            EventKind::Click => clicked = true,
        }
        // Behind a proxy or relay neither place nor network is the reader's.
        if event.verdict != Verdict::Proxy && event.via.is_none() {
            countries.extend(event.country.as_deref());
            networks.extend(event.network_hash);
        }
    }
    Reading::of(opened, clicked, distinct(countries), distinct(networks))
}

fn distinct<T: Ord>(mut values: Vec<T>) -> usize {
    values.sort_unstable();
    values.dedup();
    values.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Via;
    use crate::token::{MessageId, TokenId};

    fn event(kind: EventKind, verdict: Verdict, country: Option<&str>, network: u8) -> Event {
        Event {
            at_ms: 0,
            id: TokenId { message: MessageId(1), recipient: 1, link: 0 },
            kind,
            verdict,
            rule: String::new(),
            former: None,
            repeats: 0,
            country: country.map(str::to_owned),
            city: None,
            via: None,
            agent_family: None,
            os_family: None,
            device_family: None,
            network_hash: Some([network; 8]),
            evidence: None,
        }
    }

    #[test]
    fn read_opened_inferred() {
        use EventKind::{Click, Open};
        use Verdict::{Machine, Own, Person, Proxy};
        for (events, read, clicked) in [
            (&[][..], Read::No, false),
            (&[(Open, Person)], Read::Opened, false),
            (&[(Open, Proxy)], Read::Opened, false),
            (&[(Click, Person)], Read::Inferred, true),
            (&[(Click, Person), (Open, Person)], Read::Opened, true),
            (&[(Click, Person), (Open, Machine)], Read::Inferred, true),
            // Machines and the sender read nothing.
            (&[(Open, Machine), (Click, Machine)], Read::No, false),
            (&[(Open, Own), (Click, Own)], Read::No, false),
        ] {
            let events: Vec<Event> = events.iter().map(|(kind, verdict)| event(*kind, *verdict, None, 1)).collect();
            assert_eq!(reading(&events), Reading { read, clicked, shared: Some(false) });
        }
    }

    #[test]
    fn forwarded_or_shared() {
        let person = |country, network| event(EventKind::Open, Verdict::Person, country, network);
        let from = |verdict, via| Event { via, ..event(EventKind::Open, verdict, Some("US"), 9) };
        let it = Some("IT");
        for (events, shared) in [
            (vec![person(it, 1), person(it, 2), person(it, 3)], false),
            (vec![person(it, 1), person(it, 2), person(it, 3), person(it, 4)], true),
            (vec![person(it, 1), person(Some("FR"), 1)], true),
            (vec![person(it, 1), person(None, 1)], false),
            // What is not where the reader is says nothing.
            (vec![person(it, 1), from(Verdict::Machine, None)], false),
            (vec![person(it, 1), from(Verdict::Proxy, None)], false),
            (vec![person(it, 1), from(Verdict::Person, Some(Via::Relay))], false),
            (vec![person(it, 1), from(Verdict::Person, None)], true),
        ] {
            assert_eq!(reading(&events).shared, Some(shared), "{events:?}");
        }
    }
    #[test]
    fn what_is_forgotten_may_have_shown_it() {
        for (countries, events, shared) in [(1, 1, Some(false)), (1, 2, None), (2, 2, Some(true)), (0, 9, None)] {
            let reading = Reading::of(true, false, countries, 1).with_forgotten(events);
            assert_eq!(reading.shared, shared, "{countries} {events}");
        }
    }
}
