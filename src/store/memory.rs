//! Both stores in memory: for tests of everything above the stores, and for offline commands. They answer as the real
//! ones do and keep nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::events::without_person;
use super::record::{
    Delivery, DeliveryState, MessageFilter, MessageRecord, MessageSummary, RecipientRecord, TimelineEntry,
};
use super::{
    BoxFuture, Change, HistoryStore, Inserted, SettingsStore, Snapshot, StoreError, TimelineFilter, messages, settings,
    timeline,
};
use crate::event::{Event, EventKind};
use crate::settings::Mode;
use crate::token::MessageId;

/// Settings that last as long as the value.
#[derive(Debug, Default)]
pub struct MemorySettings {
    snapshot: ArcSwap<Snapshot>,
}

impl SettingsStore for MemorySettings {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    fn change(&self, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.snapshot.rcu(|snapshot| {
            let mut next = Snapshot::clone(snapshot);
            for change in &changes {
                settings::apply(&mut next, change);
            }
            next
        });
        Box::pin(async { Ok(()) })
    }
}

/// A history that lasts as long as the value.
#[derive(Debug, Default)]
pub struct MemoryHistory {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    messages: BTreeMap<MessageId, MessageRecord>,
    events: Vec<Event>,
}

impl MemoryHistory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HistoryStore for MemoryHistory {
    fn insert(&self, record: MessageRecord) -> BoxFuture<'_, Result<Inserted, StoreError>> {
        Box::pin(async move {
            let mut kept = self.kept();
            if kept.messages.contains_key(&record.id) {
                return Ok(Inserted::IdTaken);
            }
            kept.messages.insert(record.id, record);
            Ok(Inserted::Durable)
        })
    }

    fn settle(&self, id: MessageId, outcomes: Vec<(u16, Delivery)>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if let Some(record) = self.kept().messages.get_mut(&id) {
                for recipient in &mut record.recipients {
                    if let Some((_, delivery)) = outcomes.iter().rfind(|(index, _)| *index == recipient.index) {
                        recipient.delivery = delivery.clone();
                    }
                }
            }
            Ok(())
        })
    }

    fn record(&self, events: Vec<Event>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut kept = self.kept();
            for event in events {
                let record = kept.messages.get(&event.id.message);
                let copy = record.and_then(|r| r.recipients.iter().find(|r| r.copy_index == event.id.recipient));
                let event = match copy.map(|r| mode_of(r, event.kind)) {
                    Some(Mode::Individual) => event,
                    Some(Mode::Off | Mode::Aggregate) | None => without_person(&event),
                };
                kept.events.push(event);
            }
            Ok(())
        })
    }

    fn messages(&self, filter: MessageFilter) -> BoxFuture<'_, Result<Vec<MessageSummary>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let mut found: Vec<MessageSummary> = kept
                .messages
                .values()
                .filter(|r| filter.org.as_ref().is_none_or(|org| *org == r.org))
                .filter(|r| filter.login.is_none() || filter.login == r.login)
                .filter(|r| filter.before.is_none_or(|(at_ms, id)| place(r.accepted_at_ms, r.id) < place(at_ms, id)))
                .map(|r| summary(r, &kept.events))
                .collect();
            found.sort_by_key(|s| std::cmp::Reverse(place(s.accepted_at_ms, s.id)));
            found.truncate(filter.limit.clamp(1, messages::LIMIT_MAX) as usize);
            Ok(found)
        })
    }

    fn message(&self, id: MessageId) -> BoxFuture<'_, Result<Option<MessageRecord>, StoreError>> {
        Box::pin(async move { Ok(self.kept().messages.get(&id).cloned()) })
    }

    fn timeline(&self, filter: TimelineFilter) -> BoxFuture<'_, Result<Vec<TimelineEntry>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let entries = (1..).zip(&kept.events).map(|(sequence, event)| entry(sequence, event, &kept.messages));
            let mut found: Vec<TimelineEntry> = entries
                .filter(|e| e.sequence > filter.after_sequence)
                .filter(|e| filter.message.is_none_or(|id| id == e.event.id.message))
                .filter(|e| filter.org.is_none() || filter.org == e.org)
                .filter(|e| filter.login.is_none() || filter.login == e.login)
                .collect();
            let limit = filter.limit.clamp(1, timeline::LIMIT_MAX) as usize;
            if filter.newest {
                drop(found.drain(..found.len().saturating_sub(limit)));
            }
            found.truncate(limit);
            Ok(found)
        })
    }
}

/// The order of the list; ids compare as SQLite's signed integers do.
fn place(at_ms: i64, id: MessageId) -> (i64, i64) {
    (at_ms, id.0.cast_signed())
}

fn summary(record: &MessageRecord, events: &[Event]) -> MessageSummary {
    let count = |kind: EventKind| {
        let counted = |e: &&Event| e.id.message == record.id && e.kind == kind && e.verdict.counts();
        events.iter().filter(counted).count() as u64
    };
    let accepted = record.recipients.iter().filter(|r| r.delivery.state == DeliveryState::Accepted).count();
    MessageSummary {
        id: record.id,
        accepted_at_ms: record.accepted_at_ms,
        org: record.org.clone(),
        login: record.login.clone(),
        header_from: record.header_from.clone(),
        subject: record.subject.clone(),
        recipients: u32::try_from(record.recipients.len()).unwrap_or(u32::MAX),
        accepted: u32::try_from(accepted).unwrap_or(u32::MAX),
        opens: count(EventKind::Open),
        clicks: count(EventKind::Click),
        tracked: record.untouched.is_none(),
    }
}

fn entry(sequence: i64, event: &Event, messages: &BTreeMap<MessageId, MessageRecord>) -> TimelineEntry {
    let record = messages.get(&event.id.message);
    let link = |r: &MessageRecord| r.links.iter().find(|l| l.index == event.id.link).map(|l| l.destination.clone());
    TimelineEntry {
        sequence,
        event: event.clone(),
        recipient: record.and_then(|r| sole_reader(r, event)).map(|r| r.address.clone()),
        subject: record.map(|r| r.subject.clone()).unwrap_or_default(),
        destination: record.filter(|_| event.kind == EventKind::Click).and_then(link),
        org: record.map(|r| r.org.clone()),
        login: record.and_then(|r| r.login.clone()),
    }
}

/// The one recipient whose event this must be, if there is one.
fn sole_reader<'a>(record: &'a MessageRecord, event: &Event) -> Option<&'a RecipientRecord> {
    let mut of_copy = record.recipients.iter().filter(|r| r.copy_index == event.id.recipient);
    let only = of_copy.next().filter(|r| r.index == event.id.recipient)?;
    (of_copy.next().is_none() && mode_of(only, event.kind) == Mode::Individual).then_some(only)
}

fn mode_of(recipient: &RecipientRecord, kind: EventKind) -> Mode {
    match kind {
        EventKind::Open => recipient.opens,
        EventKind::Click => recipient.links,
    }
}
