//! The ways upstream: the server's, and those of organisations that have an upstream of their own.
//!
//! **Invariant:** the mail of an organisation with an upstream of its own leaves through that one or not at all: when it
//! is gone from the configuration the mail is held, for it must not leave through another's account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::Login;
use super::courier::Courier;
use super::safekeeping::Safekeeping;

/// Makes the way upstream for one login. No connection is made yet.
pub type Connect = Arc<dyn Fn(Login) -> Courier + Send + Sync>;

/// One upstream: everything that goes there shares its connections, pace and breaker.
#[derive(Clone)]
pub struct Way {
    /// With the login of its own, or none.
    pub courier: Arc<Courier>,
    /// Where clients log in as themselves instead.
    pub connect: Option<Connect>,
    /// Where such logins are kept for mail that waits.
    pub safekeeping: Option<Safekeeping>,
}

/// Every upstream there is.
#[derive(Clone)]
pub struct Ways {
    /// For organisations without one of their own.
    pub server: Way,
    /// By the organisation's name.
    pub own: BTreeMap<String, Way>,
    /// Organisations that had one of their own, which is no longer in the configuration.
    pub stranded: BTreeSet<String>,
}

/// The ways in force. One for the whole program.
pub struct Couriers {
    ways: ArcSwap<Ways>,
}

impl Couriers {
    /// These ways, until they are changed.
    pub fn new(ways: Ways) -> Couriers {
        Couriers { ways: ArcSwap::from_pointee(ways) }
    }

    /// From the next mail and the next attempt on. What is under way goes on as it began.
    pub fn change(&self, ways: Ways) {
        self.ways.store(Arc::new(ways));
    }

    /// What is in force now.
    pub fn ways(&self) -> Arc<Ways> {
        self.ways.load_full()
    }

    /// The way of an organisation's new mail; `None`: it is stranded.
    pub fn of(&self, org: &str) -> Option<Way> {
        self.ways.load().of(org).cloned()
    }

    /// The way of a mail that was taken when its organisation had (`own`) or had not an upstream of its own; `None`: it is
    /// held until that upstream is in the configuration again.
    pub fn of_record(&self, org: &str, own: bool) -> Option<Way> {
        let ways = self.ways.load();
        if own { ways.own.get(org).cloned() } else { ways.of(org).cloned() }
    }

    /// Whether an organisation has an upstream of its own, or had one last.
    pub fn is_own(&self, org: &str) -> bool {
        let ways = self.ways.load();
        ways.own.contains_key(org) || ways.stranded.contains(org)
    }

    /// Whether clients of this organisation log in upstream as themselves.
    pub fn is_passthrough(&self, org: &str) -> bool {
        self.ways.load().of(org).is_some_and(|way| way.connect.is_some())
    }

    /// How many upstreams have been unreachable and are not tried just now, or are not in the configuration any more.
    pub fn down(&self) -> usize {
        let ways = self.ways.load();
        let all = std::iter::once(&ways.server).chain(ways.own.values());
        all.filter(|way| way.courier.is_down()).count() + ways.stranded.len()
    }
}

impl Ways {
    fn of(&self, org: &str) -> Option<&Way> {
        match self.own.get(org) {
            Some(way) => Some(way),
            None => (!self.stranded.contains(org)).then_some(&self.server),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Options, Security, TcpDial, Upstream};
    use super::*;

    fn way(host: &str) -> Way {
        let options = Options::named("relay.test");
        let dial = TcpDial::new(host.to_owned(), 1, options.connect);
        let courier = Courier::new(Upstream::new(dial, Security::None, None, options), host.to_owned(), None);
        Way { courier: Arc::new(courier), connect: None, safekeeping: None }
    }

    /// Organisation, whether the mail was taken under an upstream of its own, and where it leaves; `-` is held.
    #[tokio::test]
    async fn every_organisation_has_one_way() {
        let own = BTreeMap::from([("acme".to_owned(), way("acme.test"))]);
        let stranded = BTreeSet::from(["gone".to_owned()]);
        let couriers = Couriers::new(Ways { server: way("server.test"), own, stranded });
        let rows = [
            ("acme", false, "acme.test"),
            ("acme", true, "acme.test"),
            ("other", false, "server.test"),
            // Taken for an account that is no longer there: it leaves through nobody else's.
            ("other", true, "-"),
            ("gone", true, "-"),
            ("gone", false, "-"),
        ];
        let host = |way: Option<Way>| way.map_or("-".to_owned(), |way| way.courier.host().to_owned());
        for (org, own, expected) in rows {
            assert_eq!(host(couriers.of_record(org, own)), expected, "{org} {own}");
        }
        assert_eq!(host(couriers.of("gone")), "-");
        assert_eq!([couriers.is_own("acme"), couriers.is_own("gone"), couriers.is_own("other")], [true, true, false]);
    }
}
