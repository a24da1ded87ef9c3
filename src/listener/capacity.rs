//! How many connections and how many octets of mail there is room for, over all listeners.
//!
//! **Invariant:** what was taken is given back when its guard drops, whichever way a connection ends.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Options;
use crate::caller::subscriber;

/// Shared by all listeners.
#[derive(Debug)]
pub struct Capacity {
    connections: Arc<Semaphore>,
    per_address_max: usize,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
    room: Arc<Semaphore>,
    /// Units one sender may have of it.
    share_units: AtomicUsize,
    shares: Mutex<HashMap<Sender, Weak<Semaphore>>>,
}

/// Whose mail it is, for a fair share of the room.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A login.
    Login(String),
    /// An address of a trusted network (IPv6: its /64).
    Address(IpAddr),
}

impl Sender {
    /// Of the login, where there is one.
    pub fn of(login: Option<&str>, peer: IpAddr) -> Sender {
        login.map_or_else(|| Sender::Address(subscriber(peer)), |login| Sender::Login(login.to_owned()))
    }
}

/// Whose room it is that there is no more of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// The sender's own share.
    OfSender,
    /// Everybody's.
    OfAll,
}

/// Senders whose shares are kept in the table before those without mail are swept out.
const SHARES_SWEPT_AT: usize = 1024;

/// A connection's place; given back on drop.
#[derive(Debug)]
pub struct ConnectionPermit {
    _slot: Slot,
    address: IpAddr,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place among all connections; whose it is may not be known yet. Given back on drop.
#[derive(Debug)]
pub struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// Memory set aside for one message; given back on drop.
#[derive(Debug)]
pub struct Room {
    permit: OwnedSemaphorePermit,
    /// The same of its sender's share.
    share: OwnedSemaphorePermit,
}

/// The budget is counted in these, so that it fits the semaphore's numbers.
const UNIT_BYTES: usize = 1024;

impl Capacity {
    /// As the options say.
    pub fn new(options: &Options) -> Capacity {
        let units = (options.in_flight_bytes_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS);
        Capacity {
            connections: Arc::new(Semaphore::new(options.connections_max.min(Semaphore::MAX_PERMITS))),
            per_address_max: options.connections_per_address_max,
            addresses: Arc::default(),
            room: Arc::new(Semaphore::new(units)),
            share_units: AtomicUsize::new(share_units(options)),
            shares: Mutex::default(),
        }
    }

    /// A place for a connection from this address, if there is one now.
    pub fn connection(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        self.claim(self.slot()?, peer)
    }

    /// A place for a connection, if there is one now.
    pub fn slot(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// The place becomes this address's, if that has not too many.
    pub fn claim(&self, slot: Slot, peer: IpAddr) -> Option<ConnectionPermit> {
        let address = subscriber(peer);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_insert(0);
        if *count >= self.per_address_max {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit { _slot: slot, address, addresses: Arc::clone(&self.addresses) })
    }

    /// Room for so many octets of this sender's, waited for so long.
    ///
    /// # Errors
    /// [`NoRoom`]; nothing was set aside.
    pub async fn room(&self, sender: &Sender, bytes: usize, wait_max: Duration) -> Result<Room, NoRoom> {
        let until = Instant::now() + wait_max;
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).map_err(|_| NoRoom::OfAll)?;
        // The sender's own first: whoever waits for that must not hold what others could use.
        let share = timeout_at(until, self.share(sender).acquire_many_owned(units)).await;
        let Ok(Ok(share)) = share else { return Err(NoRoom::OfSender) };
        let permit = timeout_at(until, Arc::clone(&self.room).acquire_many_owned(units)).await;
        let Ok(Ok(permit)) = permit else { return Err(NoRoom::OfAll) };
        Ok(Room { permit, share })
    }

    fn share(&self, sender: &Sender) -> Arc<Semaphore> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = shares.get(sender).and_then(Weak::upgrade) {
            return share;
        }
        if shares.len() >= SHARES_SWEPT_AT {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(self.share_units.load(Ordering::Relaxed)));
        shares.insert(sender.clone(), Arc::downgrade(&share));
        share
    }

    /// Changes what one sender may have, from its next mail with none under way.
    pub fn change_shares(&self, options: &Options) {
        self.share_units.store(share_units(options), Ordering::Relaxed);
    }

    /// Octets not set aside at this moment.
    pub fn free_bytes(&self) -> usize {
        self.room.available_permits() * UNIT_BYTES
    }
}

fn share_units(options: &Options) -> usize {
    (options.in_flight_bytes_per_sender_max / UNIT_BYTES).min(Semaphore::MAX_PERMITS)
}

impl Room {
    /// How many octets.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT_BYTES
    }

    /// Makes this one larger by the other, which is the same sender's.
    pub fn add(&mut self, other: Room) {
        self.permit.merge(other.permit);
        self.share.merge(other.share);
    }

    /// Gives back all but so many octets.
    pub fn shrink_to(&mut self, bytes: usize) {
        let spare = self.permit.num_permits().saturating_sub(bytes.div_ceil(UNIT_BYTES));
        drop((self.permit.split(spare), self.share.split(spare)));
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::session;

    fn capacity(total: usize, per_address: usize, bytes: usize) -> Capacity {
        let mut options = Options::new(session::Options::new("x.test"));
        options.connections_max = total;
        options.connections_per_address_max = per_address;
        options.in_flight_bytes_max = bytes;
        Capacity::new(&options)
    }

    #[test]
    fn connections_are_counted_in_all_and_per_address() {
        let capacity = capacity(3, 2, 0);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = capacity.connection(ip("192.0.2.1")).unwrap();
        let _mapped = capacity.connection(ip("::ffff:192.0.2.1")).unwrap();
        assert!(capacity.connection(ip("192.0.2.1")).is_none(), "a mapped address is the same address");
        let _other = capacity.connection(ip("2001:db8::1")).unwrap();
        assert!(capacity.connection(ip("192.0.2.9")).is_none(), "three in all");
        drop(first);
        let again = capacity.connection(ip("2001:db8::2")).unwrap();
        drop(again);
        assert_eq!(capacity.addresses.lock().unwrap().len(), 2, "no entry stays for who left");
    }

    #[test]
    fn a_ipv6_subscriber_counts_once() {
        let capacity = capacity(9, 1, 0);
        let _first = capacity.connection("2001:db8::1".parse().unwrap()).unwrap();
        assert!(capacity.connection("2001:db8::ffff".parse().unwrap()).is_none());
        assert!(capacity.connection("2001:db8:0:1::1".parse().unwrap()).is_some());
    }

    #[tokio::test]
    async fn room_is_given_back() {
        let capacity = capacity(1, 1, 10 * UNIT_BYTES);
        let (ana, wait) = (Sender::of(Some("ana"), [192, 0, 2, 1].into()), Duration::from_millis(1));
        let mut room = capacity.room(&ana, 1, wait).await.unwrap();
        room.add(capacity.room(&ana, 8 * UNIT_BYTES, wait).await.unwrap());
        assert_eq!(room.bytes(), 9 * UNIT_BYTES);
        assert_eq!(capacity.room(&ana, 2 * UNIT_BYTES, wait).await.unwrap_err(), NoRoom::OfAll);
        room.shrink_to(UNIT_BYTES + 1);
        assert_eq!(capacity.free_bytes(), 8 * UNIT_BYTES);
        drop(room);
        assert_eq!(capacity.free_bytes(), 10 * UNIT_BYTES);
    }

    /// One sender, however many connections it has, leaves room for the others.
    #[tokio::test]
    async fn each_sender_has_a_share() {
        let mut options = Options::new(session::Options::new("x.test"));
        (options.in_flight_bytes_max, options.in_flight_bytes_per_sender_max) = (10 * UNIT_BYTES, 4 * UNIT_BYTES);
        let (capacity, wait) = (Capacity::new(&options), Duration::from_millis(1));
        let ana = Sender::of(Some("ana"), [192, 0, 2, 1].into());
        let mut first = capacity.room(&ana, 2 * UNIT_BYTES, wait).await.unwrap();
        let _second = capacity.room(&ana, 2 * UNIT_BYTES, wait).await.unwrap();
        assert_eq!(capacity.room(&ana, 1, wait).await.unwrap_err(), NoRoom::OfSender);
        assert_eq!(capacity.free_bytes(), 6 * UNIT_BYTES, "whoever waits holds nothing");
        let others = [Sender::of(Some("ben"), [192, 0, 2, 1].into()), Sender::of(None, [192, 0, 2, 1].into())];
        for other in &others {
            assert!(capacity.room(other, 4 * UNIT_BYTES, wait).await.is_ok(), "{other:?}");
        }
        first.shrink_to(UNIT_BYTES);
        assert!(capacity.room(&ana, UNIT_BYTES, wait).await.is_ok(), "what is given back is the sender's again");
        // Two addresses of one IPv6 subscriber are one sender.
        let [one, two] = ["2001:db8::1", "2001:db8::2"].map(|peer| Sender::of(None, peer.parse().unwrap()));
        assert_eq!(one, two);
    }

    /// A larger mail that is allowed while we run has room from then on.
    #[tokio::test]
    async fn a_larger_share_holds_from_the_next_mail_on() {
        let mut options = Options::new(session::Options::new("x.test"));
        (options.in_flight_bytes_max, options.in_flight_bytes_per_sender_max) = (10 * UNIT_BYTES, 4 * UNIT_BYTES);
        let (capacity, wait) = (Capacity::new(&options), Duration::from_millis(1));
        let ana = Sender::of(Some("ana"), [192, 0, 2, 1].into());
        assert_eq!(capacity.room(&ana, 8 * UNIT_BYTES, wait).await.unwrap_err(), NoRoom::OfSender);
        options.in_flight_bytes_per_sender_max = 8 * UNIT_BYTES;
        capacity.change_shares(&options);
        assert!(capacity.room(&ana, 8 * UNIT_BYTES, wait).await.is_ok());
    }

    #[tokio::test]
    async fn shares_of_who_has_no_mail_are_forgotten() {
        let capacity = capacity(1, 1, 10 * UNIT_BYTES);
        for n in 0..=SHARES_SWEPT_AT {
            let sender = Sender::Login(n.to_string());
            drop(capacity.room(&sender, 1, Duration::from_secs(1)).await.unwrap());
        }
        assert!(capacity.shares.lock().unwrap().len() <= 2);
    }
}
