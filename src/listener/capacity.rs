//! How many connections and how many octets of mail there is room for, over all listeners.
//!
//! **Invariant:** what was taken is given back when its guard drops, whichever way a connection ends.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Options;

/// Shared by all listeners.
#[derive(Debug)]
pub struct Capacity {
    connections: Arc<Semaphore>,
    per_address_max: usize,
    addresses: Arc<Mutex<HashMap<IpAddr, usize>>>,
    room: Arc<Semaphore>,
}

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

    /// Room for so many octets, waited for so long.
    pub async fn room(&self, bytes: usize, wait_max: Duration) -> Option<Room> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).ok()?;
        let acquire = Arc::clone(&self.room).acquire_many_owned(units);
        let permit = tokio::time::timeout(wait_max, acquire).await.ok()?.ok()?;
        Some(Room { permit })
    }

    /// Octets not set aside at this moment.
    pub fn free_bytes(&self) -> usize {
        self.room.available_permits() * UNIT_BYTES
    }
}

impl Room {
    /// How many octets.
    pub fn bytes(&self) -> usize {
        self.permit.num_permits() * UNIT_BYTES
    }

    /// Makes this one larger by the other.
    pub fn add(&mut self, other: Room) {
        self.permit.merge(other.permit);
    }

    /// Gives back all but so many octets.
    pub fn shrink_to(&mut self, bytes: usize) {
        let spare = self.permit.num_permits().saturating_sub(bytes.div_ceil(UNIT_BYTES));
        drop(self.permit.split(spare));
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

/// Whom an address belongs to: an IPv6 subscriber has a /64 and could use an address of it for every connection.
fn subscriber(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
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
        let wait = Duration::from_millis(1);
        let mut room = capacity.room(1, wait).await.unwrap();
        room.add(capacity.room(8 * UNIT_BYTES, wait).await.unwrap());
        assert_eq!(room.bytes(), 9 * UNIT_BYTES);
        assert!(capacity.room(2 * UNIT_BYTES, wait).await.is_none());
        room.shrink_to(UNIT_BYTES + 1);
        assert_eq!(capacity.free_bytes(), 8 * UNIT_BYTES);
        drop(room);
        assert_eq!(capacity.free_bytes(), 10 * UNIT_BYTES);
    }
}
