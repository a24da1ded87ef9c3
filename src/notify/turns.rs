//! Whose turn it is among webhooks that have something to try. Pure.
//!
//! **Invariant:** organisations take turns, and the webhooks of one take turns among themselves: nobody gets a second try
//! before everybody else with room had one. One organisation never has more than its share of the places, so that its slow
//! receivers leave places to others.

use std::collections::HashMap;

use crate::settings::OrgName;
use crate::settings::notices::WebhookId;

/// How a webhook stands.
#[derive(Debug, Clone)]
pub(super) struct Standing<'a> {
    pub(super) id: WebhookId,
    pub(super) org: &'a OrgName,
    /// Its tries under way.
    pub(super) under_way: usize,
    /// How many more may begin. None when nothing is due.
    pub(super) room: usize,
    /// Number of its last try; 0: there was none. Greater is later, over all webhooks.
    pub(super) last_try: u64,
}

/// Places that one organisation may hold at one time: half of them, and one at least.
pub(super) fn share(places: usize) -> usize {
    places.div_ceil(2).max(1)
}

/// Who begins the next try: of the organisations with room the one whose last try is longest ago, and of its webhooks
/// likewise. All webhooks are given, also those without room: what they have under way counts for their organisation.
pub(super) fn next(standings: &[Standing<'_>], places: usize) -> Option<WebhookId> {
    let mut orgs: HashMap<&OrgName, (usize, u64)> = HashMap::new();
    for standing in standings {
        let (under_way, last_try) = orgs.entry(standing.org).or_default();
        *under_way += standing.under_way;
        *last_try = standing.last_try.max(*last_try);
    }
    let of_org = |standing: &Standing<'_>| orgs.get(standing.org).copied().unwrap_or_default();
    standings
        .iter()
        .filter(|standing| standing.room > 0 && of_org(standing).0 < share(places))
        .min_by_key(|standing| (of_org(standing).1, standing.org, standing.last_try, standing.id))
        .map(|standing| standing.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of this organisation, with this many tries under way and this much room.
    fn standing(id: u64, org: &OrgName, under_way: usize, room: usize, last_try: u64) -> Standing<'_> {
        Standing { id: WebhookId(id), org, under_way, room, last_try }
    }

    #[test]
    fn one_organisation_holds_half_of_the_places() {
        for (places, expected) in [(1, 1), (2, 1), (3, 2), (8, 4), (9, 5), (256, 128)] {
            assert_eq!(share(places), expected, "{places}");
        }
    }

    #[test]
    fn whose_turn_it_is() {
        let (acme, other) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let (of_acme, of_other) = (
            |id, under_way, room, last| standing(id, &acme, under_way, room, last),
            |id, under_way, room, last| standing(id, &other, under_way, room, last),
        );
        for (what, standings, expected) in [
            ("nobody", vec![], None),
            ("nobody has room", vec![of_acme(1, 2, 0, 1), of_other(2, 0, 0, 0)], None),
            ("who never had one", vec![of_acme(1, 0, 2, 5), of_acme(2, 0, 2, 0)], Some(2)),
            ("the other organisation", vec![of_acme(1, 0, 2, 5), of_acme(2, 0, 2, 0), of_other(3, 0, 2, 4)], Some(3)),
            ("though it had one lately, who alone has room", vec![of_acme(1, 0, 2, 5), of_other(3, 2, 0, 4)], Some(1)),
            ("not who has its share: four of eight", vec![of_acme(1, 3, 0, 9), of_acme(2, 1, 1, 0)], None),
            ("up to its share", vec![of_acme(1, 3, 0, 9), of_acme(2, 0, 1, 0)], Some(2)),
        ] {
            assert_eq!(next(&standings, 8), expected.map(WebhookId), "{what}");
        }
    }

    /// Everybody always has more to try, and the oldest try ends when there is no place left.
    #[test]
    fn over_time_organisations_get_the_same_and_so_do_the_webhooks_of_each() {
        let orgs: Vec<OrgName> = ["a", "b", "c"].map(|name| name.parse().unwrap()).to_vec();
        let of = [0, 0, 0, 0, 0, 1, 1, 2];
        let mut all: Vec<_> = (1..).zip(of).map(|(id, org)| standing(id, &orgs[org], 0, 2, 0)).collect();
        let (mut begun, mut had) = (Vec::new(), HashMap::<u64, usize>::new());
        for number in 1..=300 {
            if begun.len() == 3 {
                let ended: WebhookId = begun.remove(0);
                let one = all.iter_mut().find(|one| one.id == ended).unwrap();
                (one.under_way, one.room) = (one.under_way - 1, one.room + 1);
            }
            let id = next(&all, 3).unwrap();
            let one = all.iter_mut().find(|one| one.id == id).unwrap();
            (one.under_way, one.room, one.last_try) = (one.under_way + 1, one.room - 1, number);
            begun.push(id);
            *had.entry(id.0).or_default() += 1;
        }
        let had: Vec<usize> = (1..=8).map(|id| had[&id]).collect();
        assert_eq!(had, [20, 20, 20, 20, 20, 50, 50, 100]);
    }
}
