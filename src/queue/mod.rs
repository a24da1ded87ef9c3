//! The pump: tries again what is due, settles records, and tells the sender what became of them.
//!
//! **Invariant:** the queue only ever touches records handed to it, by [`Queue::adopt`] or by recovery at start; a record
//! that the relay is still writing is invisible to it.

pub mod due;
pub mod heads;
pub mod interrupted;
mod pump;
mod report;
mod settle;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, watch};

use crate::deliver::bounce::Kind;
use crate::deliver::courier::Courier;
use crate::deliver::couriers::{Couriers, Way};
use crate::deliver::{BoxFuture, Fate};
use crate::message::{Body, Envelope, Mail};
use crate::smtp::ReversePath;
use crate::spool::{Head, Record, Spool, SpoolError, State, Via};
use crate::store::HistoryStore;
use crate::token::MessageId;

/// Renders what is due, to the same bytes as when it was accepted.
pub trait Renderer: Send + Sync {
    /// The copies of these positions in the record's envelope.
    ///
    /// # Errors
    /// The recipe cannot be read: the record belongs into `corrupt/`.
    fn copies(&self, record: &Record, positions: &[usize]) -> Result<Copies, String>;

    /// The recipe of a mail of our own that is sent as it is.
    fn plain_recipe(&self, recipients: usize) -> String;

    /// Each recipient's index in history, in the envelope's order; `None` when history knows nothing of this message.
    fn history_indexes(&self, record: &Record) -> Option<Vec<u16>>;
}

/// What is sent of one record.
pub struct Copies {
    /// One copy per group of recipients that share octets: their positions, and the octets.
    pub groups: Vec<(Vec<usize>, Body)>,
    /// The mail as it came, where the copies are not that: what leaves when upstream finds a copy too large.
    pub as_it_came: Option<Body>,
}

/// Why a mail whose copies upstream finds too large left as it came.
pub const TOO_LARGE_TRACKED: &str = "with our links it is larger than upstream takes";

/// Tells history that the copies of these recipients (by index) left as they came.
pub async fn tell_untracked(history: &dyn HistoryStore, id: MessageId, recipients: Vec<u16>) {
    if recipients.is_empty() {
        return;
    }
    if let Err(error) = history.leave_untracked(id, recipients, TOO_LARGE_TRACKED.to_owned()).await {
        tracing::warn!(message.id = %id, %error, "the history does not know that {id} left untracked");
    }
}

/// What the queue needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Our name in reports.
    pub hostname: String,
    /// Reverse path of reports: `<>`, unless the provider refuses that.
    pub bounce_sender: ReversePath,
    /// When to give up and when to say that it is late.
    pub rules: due::Rules,
    /// Records worked on at one time.
    pub workers_max: usize,
    /// How long one attempt may take until its dot.
    pub attempt: Duration,
    /// How long the answer to a dot is awaited.
    pub dot: Duration,
}

/// How long one attempt of the queue may take until its dot: nobody waits, but a worker is held.
pub const ATTEMPT: Duration = Duration::from_secs(300);

/// Heads read for one question about ages: a tenth of a second of a slow disk's time.
pub const AGES_READ_MAX: usize = 1000;

/// What the queue works with.
pub struct Parts {
    /// The disk.
    pub spool: Spool,
    /// The ways upstream.
    pub couriers: Arc<Couriers>,
    /// Renders copies.
    pub renderer: Arc<dyn Renderer>,
    /// Told of every outcome.
    pub history: Arc<dyn HistoryStore>,
    /// Unix milliseconds.
    pub clock: fn() -> i64,
}

/// A handle on the queue. Cheap to clone.
#[derive(Clone)]
pub struct Queue {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    options: Options,
    slots: Mutex<HashMap<MessageId, Slot>>,
    wake: Notify,
    workers: Arc<Semaphore>,
    room: Room,
}

/// Whether the disk had room when it was asked last.
#[derive(Default)]
struct Room {
    asked_ms: AtomicI64,
    is_there: AtomicBool,
}

/// What the queue remembers of one record between looks at the disk.
#[derive(Clone)]
struct Slot {
    due_ms: i64,
    /// What its head says, once somebody has asked.
    known: Option<heads::Known>,
    busy: bool,
    /// Held while the state on disk is read, changed and written.
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Queue {
    /// A queue over a spool already recovered; `due` is what recovery found.
    pub fn new(parts: Parts, options: Options, due: Vec<(MessageId, i64)>) -> Queue {
        let workers = Arc::new(Semaphore::new(options.workers_max));
        let slots = due.into_iter().map(|(id, due_ms)| (id, Slot::due(due_ms))).collect();
        Queue {
            inner: Arc::new(Inner {
                parts,
                options,
                slots: Mutex::new(slots),
                wake: Notify::new(),
                workers,
                room: Room::default(),
            }),
        }
    }

    /// Runs until `stop` turns true, then waits for the work at hand within the caller's patience.
    pub async fn run(&self, stop: watch::Receiver<bool>) {
        pump::run(Arc::clone(&self.inner), stop).await;
    }

    /// Writes a record durably. When it returns `Ok`, a 250 may be said; hand it over with [`Queue::adopt`].
    ///
    /// # Errors
    /// Nothing was promised. `None`: it took longer than `within`; should the write succeed after all, it is undone,
    /// for the client has been told to send again.
    pub async fn keep(&self, record: Record, within: Duration) -> Result<(), Option<SpoolError>> {
        let id = record.id;
        let mut write = tokio::spawn(self.inner.on_disk(move |spool| spool.add(&record)));
        match tokio::time::timeout(within, &mut write).await {
            Ok(Ok(written)) => written.map_err(Some),
            Ok(Err(_)) => Err(None),
            Err(_) => {
                let inner = Arc::clone(&self.inner);
                tokio::spawn(async move {
                    if let Ok(Ok(())) = write.await
                        && let Err(error) = inner.on_disk(move |spool| spool.remove(id)).await
                    {
                        tracing::error!(spool.id = %id, %error, "{id} was given up on but stays in the spool: it may be sent twice");
                    }
                });
                Err(None)
            }
        }
    }

    /// Takes over a record that is on disk.
    pub fn adopt(&self, id: MessageId, state: &State) {
        self.inner.adopt(id, state);
    }

    /// Tells the sender that these recipients' copies were handed to a server that sends no reports (NOTIFY=SUCCESS,
    /// RFC 3461 §6.2). A report that cannot be written is logged: the mail itself has arrived.
    pub async fn report_relayed(
        &self,
        id: MessageId,
        org: &str,
        mail: &Mail,
        accepted_at_ms: i64,
        fates: Vec<(usize, Fate)>,
    ) {
        let subject = report::Subject {
            id,
            org,
            login: None,
            envelope: &mail.envelope,
            raw: &mail.raw,
            accepted_at_ms,
            own_report: false,
            via: &self.via(org),
        };
        drop(report::send(&self.inner, Kind::Relayed, &subject, &fates).await);
    }

    /// The report of these recipients' fates, for whoever cannot wait for the queue to send it; `None` where nobody is to
    /// be told.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_report(
        &self,
        kind: Kind,
        id: MessageId,
        org: &str,
        mail: &Mail,
        accepted_at_ms: i64,
        fates: &[(usize, Fate)],
    ) -> std::io::Result<Option<(Envelope, Bytes)>> {
        let subject = report::Subject {
            id,
            org,
            login: None,
            envelope: &mail.envelope,
            raw: &mail.raw,
            accepted_at_ms,
            own_report: false,
            via: &self.via(org),
        };
        let id = getrandom::u64().map(MessageId).map_err(std::io::Error::other)?;
        report::write(&self.inner, kind, &subject, fates, id)
    }

    /// Through which account new mail of this organisation may leave.
    pub fn via(&self, org: &str) -> Via {
        Via { own_upstream: self.inner.parts.couriers.is_own(org), login: None }
    }

    /// The times this queue keeps to.
    pub fn rules(&self) -> &due::Rules {
        &self.inner.options.rules
    }

    /// Settles what an attempt that outlived its client's wait has brought: on disk at once, lest a stop send it twice; in
    /// the history after `first`.
    pub async fn settle(
        &self,
        id: MessageId,
        positions: Vec<usize>,
        fates: Vec<Fate>,
        first: impl Future<Output = ()> + Send,
    ) {
        settle::settle(Arc::clone(&self.inner), id, positions, fates, first).await;
    }

    /// One record without its mail; `None` when there is none of this id.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn head(&self, id: MessageId) -> Result<Option<(Head, State)>, SpoolError> {
        if !self.inner.slots().contains_key(&id) {
            return Ok(None);
        }
        let read = self.inner.on_disk(move |spool| spool.head(id)).await;
        match read {
            Err(_) if !self.inner.slots().contains_key(&id) => Ok(None), // ended meanwhile
            read => read.map(Some),
        }
    }

    /// How many unreadable records stand in `corrupt/`.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub async fn corrupt_count(&self) -> Result<usize, SpoolError> {
        self.inner.on_disk(Spool::corrupt_count).await
    }

    /// Makes a record due now, and its upstream tried even if it has been unreachable; `false` when there is none of this id.
    ///
    /// # Errors
    /// [`SpoolError`]: it is tried at its old time.
    pub async fn retry(&self, id: MessageId) -> Result<bool, SpoolError> {
        let now_ms = (self.inner.parts.clock)();
        let hurry = move |_: &Record, state: &mut State| {
            for recipient in state.recipients.iter_mut().filter(|r| !r.stage.is_settled()) {
                recipient.next_try_ms = now_ms;
            }
        };
        let Some((Head { record, .. }, _)) = self.head(id).await? else { return Ok(false) };
        if let Some(way) = self.inner.way(&record.org, &record.via) {
            way.courier.hurry();
        }
        settle::update(&self.inner, id, Box::new(hurry)).await.map(|found| found.is_some())
    }

    /// Drops a record: nobody still waiting for it gets it, and no report is sent. `false` when there is none of this id.
    ///
    /// # Errors
    /// [`SpoolError`]: it is still there.
    pub async fn drop_record(&self, id: MessageId) -> Result<bool, SpoolError> {
        settle::drop_record(&self.inner, id).await
    }

    /// Unix milliseconds of the oldest acceptance among the records; `None` when none waits. Each record's head is read
    /// from the disk once, at most [`AGES_READ_MAX`] of them now, so the first answers of a long queue are of a part of it.
    pub async fn oldest_ms(&self) -> Option<i64> {
        let unknown = |(id, slot): (&MessageId, &Slot)| slot.known.is_none().then_some(*id);
        let asked: Vec<MessageId> = self.inner.slots().iter().filter_map(unknown).take(AGES_READ_MAX).collect();
        let of = |spool: &Spool, id| spool.head(id).ok().map(|(head, _)| (id, heads::Known::of(&head)));
        let read = move |spool: &Spool| Ok(asked.into_iter().filter_map(|id| of(spool, id)).collect::<Vec<_>>());
        heads::remember(&self.inner, self.inner.on_disk(read).await.unwrap_or_default());
        self.inner.slots().values().filter_map(|slot| Some(slot.known.as_ref()?.accepted_at_ms)).min()
    }

    /// How many records wait.
    pub fn depth(&self) -> usize {
        self.inner.slots().len()
    }

    /// Octets free, and in all, where the spool is.
    ///
    /// # Errors
    /// [`SpoolError::Disk`].
    pub async fn space(&self) -> Result<(u64, u64), SpoolError> {
        self.inner.on_disk(|spool| spool.space()).await
    }

    /// Whether there is room for what need not be on this disk: more than the smaller of 10 % and 1 GiB is free. Cheap: the
    /// system is asked once a second. A file system that does not answer has no room.
    pub fn has_room(&self) -> bool {
        let room = &self.inner.room;
        let now_ms = (self.inner.parts.clock)();
        if now_ms.abs_diff(room.asked_ms.load(Ordering::Relaxed)) >= ROOM_ASKED_EVERY_MS {
            room.is_there.store(has_room(self.inner.parts.spool.space().ok()), Ordering::Relaxed);
            room.asked_ms.store(now_ms, Ordering::Relaxed);
        }
        room.is_there.load(Ordering::Relaxed)
    }
}

/// How often the free space is asked for.
const ROOM_ASKED_EVERY_MS: u64 = 1_000;

/// Whether there is room to put mail into the spool that need not go there: more than the smaller of 10 % and 1 GiB free.
/// Unknown space counts as none.
pub fn has_room(space: Option<(u64, u64)>) -> bool {
    space.is_some_and(|(free, total)| free >= (total / 10).min(1 << 30))
}

/// Who carries a mail upstream.
struct Carrier {
    courier: Arc<Courier>,
    /// Made for this attempt, with the sender's own login.
    is_own: bool,
}

/// Why a mail is held, as the queue shows it.
const NO_UPSTREAM: &str = "the organisation's own upstream is not in the configuration, or has no password";
const NOT_KEPT: &str = "the sender's login was sealed for another upstream, or is kept no longer";

impl Slot {
    fn due(due_ms: i64) -> Slot {
        Slot { due_ms, known: None, busy: false, lock: Arc::default() }
    }
}

impl Inner {
    fn adopt(&self, id: MessageId, state: &State) {
        // With nothing due the record only waits for attempts that still run; they settle it.
        let due_ms = state.next_due_ms().unwrap_or(i64::MAX);
        self.slots().insert(id, Slot::due(due_ms));
        self.wake.notify_one();
    }

    /// The way of a mail; `None`: it is held.
    fn way(&self, org: &str, via: &Via) -> Option<Way> {
        self.parts.couriers.of_record(org, via.own_upstream)
    }

    /// Who carries a mail of this way.
    ///
    /// # Errors
    /// Why it is held.
    fn carrier(&self, org: &str, via: &Via) -> Result<Carrier, &'static str> {
        let way = self.way(org, via).ok_or(NO_UPSTREAM)?;
        let Some(kept) = &via.login else {
            return Ok(Carrier { courier: way.courier, is_own: false });
        };
        let (connect, safekeeping) = way.connect.zip(way.safekeeping).ok_or(NOT_KEPT)?;
        let login = safekeeping.take(kept).ok_or(NOT_KEPT)?;
        Ok(Carrier { courier: Arc::new(connect(login)), is_own: true })
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<MessageId, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a blocking spool call on a blocking thread. It is carried out even when the future is dropped.
    fn on_disk<T: Send + 'static>(
        &self,
        call: impl FnOnce(&Spool) -> Result<T, SpoolError> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, SpoolError>> {
        let spool = self.parts.spool.clone();
        let task = tokio::task::spawn_blocking(move || call(&spool));
        Box::pin(async move {
            task.await.unwrap_or_else(|died| {
                let source = std::io::Error::other(format!("the disk task died: {died}"));
                Err(SpoolError::Disk { path: std::path::PathBuf::new(), source })
            })
        })
    }
}
