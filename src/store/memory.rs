//! Both stores in memory: for tests of everything above the stores, and for offline commands. They answer as the real
//! ones do and keep nothing.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::audit::{self, AuditQuery, Author, Line};
use super::counters::DAYS_MAX;
use super::details::own_place;
use super::events::{self, JUDGEMENTS_MAX, day, without_person};
use super::people::LedgerEntry;
use super::person::{Wanted, is_named, nobody};
use super::record::{
    Addressee, CopyCount, CopyFacts, CopyId, CopySpread, Correspondent, CorrespondentFilter, Counts, DayCount,
    DayCountFilter, Delivery, DeliveryState, Expired, Expiry, Held, Judgements, LinkCount, Mended, MessageFilter,
    MessageRecord, MessageSummary, PastEvent, PlaceCount, RankedLink, Reader, RecipientRecord, Recording,
    TimelineEntry,
};
use super::{
    BoxFuture, Change, HELD_EVENTS_MAX, HistoryStore, Inserted, PAGE_EVENTS_MAX, Sealed, SettingsStore, Snapshot,
    StoreError, TimelineFilter, messages, settings, timeline,
};
use crate::event::{Event, EventKind, Rule, Verdict};
use crate::settings::{Mode, OrgName};
use crate::token::{MessageId, PersonId};

/// Settings that last as long as the value.
#[derive(Debug, Default)]
pub struct MemorySettings {
    snapshot: ArcSwap<Snapshot>,
    ledger: Mutex<Vec<(OrgName, PersonId, LedgerEntry)>>,
    /// The audit log; held while a change is made.
    lines: Mutex<Vec<Line>>,
}

impl SettingsStore for MemorySettings {
    fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    fn change_by(&self, author: Author, changes: Vec<Change>) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.snapshot.load());
        let number = lines.last().map_or(1, |line| line.sequence.saturating_add(1));
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let changes = settings::resolved(&next, &changes);
        lines.extend(audit::apply(&mut next, &changes, &author, now_ms, number));
        self.snapshot.store(Arc::new(next));
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.extend(changes.into_iter().filter_map(|change| match change {
            Change::AddEntry(org, person, _, entry) => Some((org, person, entry)),
            _ => None,
        }));
        Box::pin(async { Ok(()) })
    }

    fn audit(&self, query: AuditQuery) -> BoxFuture<'_, Result<Vec<Line>, StoreError>> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let found = lines.iter().rev().filter(|line| query.fits(line)).take(query.limit()).cloned().collect();
        Box::pin(async { Ok(found) })
    }

    fn ledger(&self, org: &OrgName, person: PersonId) -> BoxFuture<'_, Result<Vec<LedgerEntry>, StoreError>> {
        let ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        let of_person = ledger.iter().filter(|(o, p, _)| o == org && *p == person);
        let entries = of_person.map(|(_, _, entry)| entry.clone()).collect();
        Box::pin(async move { Ok(entries) })
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
    /// By sequence, from 1.
    events: Vec<Event>,
    /// Sequences that were forgotten.
    gone: HashSet<i64>,
    /// Sequences in the order they were judged otherwise.
    judged: Vec<i64>,
}

impl Kept {
    /// Keeps what the copy's mode allows; its sequence.
    fn put(&mut self, event: &Event) -> i64 {
        let record = self.messages.get(&event.id.message);
        let copy = record.and_then(|r| r.recipients.iter().find(|r| r.copy_index == event.id.recipient));
        let indexes = record.iter().flat_map(|r| &r.recipients).flat_map(|r| [r.index, r.copy_index]);
        let nobody = events::nobody(&indexes.collect());
        self.events.push(match copy.map(|r| (mode_of(r, event.kind), r.copy_index == r.index)) {
            Some((Mode::Individual, _)) => event.clone(),
            Some((Mode::Off | Mode::Aggregate, false)) => without_person(event, event.id.recipient),
            Some((Mode::Off | Mode::Aggregate, true)) | None => without_person(event, nobody),
        });
        self.events.len().cast_signed() as i64
    }

    /// What was judged otherwise after this judgement.
    fn judged_after(&self, number: i64) -> &[i64] {
        self.judged.get(usize::try_from(number).unwrap_or(0)..).unwrap_or_default()
    }

    fn mend(&mut self, mended: &Mended) {
        let place = usize::try_from(mended.sequence - 1).unwrap_or(usize::MAX);
        let Some(event) = self.events.get_mut(place) else { return };
        event.repeats += mended.repeats;
        if let Some((verdict, rule)) = mended.verdict {
            event.former = event.former.or(Some(event.verdict));
            event.verdict = verdict;
            event.rule = rule.as_str().to_owned();
            if event.network_hash.is_some() {
                self.judged.push(mended.sequence);
            }
        }
    }

    fn events_of(&self, record: &MessageRecord, recipient: &RecipientRecord) -> Vec<Event> {
        let present = (1..).zip(&self.events).filter(|(sequence, _)| !self.gone.contains(sequence));
        let of_message = present.map(|(_, event)| event).filter(|event| event.id.message == record.id);
        of_message.filter(|event| sole_reader(record, event) == Some(recipient)).cloned().collect()
    }

    fn erase(&mut self, message: MessageId, index: u16) {
        let Some(record) = self.messages.get_mut(&message) else { return };
        let alone = record.recipients.iter().filter(|r| r.copy_index == index).count() == 1;
        let address =
            record.recipients.iter().find(|r| r.index == index).map(|r| r.address.clone()).unwrap_or_default();
        for recipient in record.recipients.iter_mut().filter(|r| is_named(&address, &r.delivery.reply)) {
            recipient.delivery.reply.clear();
        }
        for recipient in record.recipients.iter_mut().filter(|r| r.index == index) {
            nobody(recipient, alone);
        }
        let of_copy = |event: &&mut Event| event.id.message == message && event.id.recipient == index;
        for event in self.events.iter_mut().filter(of_copy).filter(|_| alone) {
            *event = without_person(event, event.id.recipient);
        }
    }

    /// The recipients of the mails a filter speaks of.
    fn sent(&self, filter: &CorrespondentFilter) -> impl Iterator<Item = (&MessageRecord, &RecipientRecord)> {
        let fits = |r: &&MessageRecord| {
            let login = r.login.as_deref().unwrap_or_default();
            filter.org.as_ref().is_none_or(|org| *org == r.org) && filter.login.as_ref().is_none_or(|l| l == login)
        };
        self.messages.values().filter(fits).flat_map(|r| r.recipients.iter().map(move |recipient| (r, recipient)))
    }

    /// The events of some days, with their mails.
    fn of_days(&self, filter: &DayCountFilter) -> impl Iterator<Item = (&MessageRecord, &Event)> {
        let with_record = |event: &'_ Event| self.messages.get(&event.id.message);
        let known = self.events.iter().filter_map(move |event| Some((with_record(event)?, event)));
        known.filter(|(record, event)| {
            let login = record.login.as_deref().unwrap_or_default();
            filter.org.as_ref().is_none_or(|org| *org == record.org)
                && filter.login.as_ref().is_none_or(|wanted| wanted == login)
                && (filter.first_day..=filter.last_day).contains(&day(event.at_ms))
        })
    }

    fn known_events(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| self.messages.contains_key(&event.id.message))
    }

    fn copy(&self, id: CopyId, events_since_ms: Option<i64>) -> Option<CopyFacts> {
        let record = self.messages.get(&id.message)?;
        let mut facts = CopyFacts {
            org: record.org.clone(),
            login: record.login.clone(),
            network_hash: record.network_hash,
            links: u32::try_from(record.links.len()).unwrap_or(u32::MAX),
            recipients: 0,
            accepted_at_ms: None,
            waiting_since_ms: None,
            settled: true,
            readers: Vec::new(),
            past: Vec::new(),
        };
        for recipient in record.recipients.iter().filter(|r| r.copy_index == id.copy_index) {
            let RecipientRecord { address, opens, links, delivery, .. } = recipient.clone();
            facts.add(delivery.state, delivery.at_ms, Reader { address, opens, links });
        }
        if let Some(since_ms) = events_since_ms {
            let numbered = (1..).zip(&self.events);
            let of_copy = numbered.filter(|(_, e)| (e.id.message, e.id.recipient) == (id.message, id.copy_index));
            facts.past = of_copy.filter(|(_, e)| e.at_ms > since_ms).filter_map(past_event).collect();
        }
        Some(facts)
    }
}

fn past_event((sequence, event): (i64, &Event)) -> Option<PastEvent> {
    Some(PastEvent {
        sequence,
        at_ms: event.at_ms,
        kind: event.kind,
        link: event.id.link,
        network_hash: event.network_hash?,
        rule: Rule::parse(&event.rule),
    })
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
                        if recipient.address.is_empty() {
                            recipient.delivery.reply.clear();
                        }
                    }
                }
            }
            Ok(())
        })
    }

    fn leave_untracked(
        &self,
        id: MessageId,
        recipients: Vec<u16>,
        why: String,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            if let Some(record) = self.kept().messages.get_mut(&id) {
                for one in record.recipients.iter_mut().filter(|one| recipients.contains(&one.index)) {
                    (one.opens, one.links) = (Mode::Off, Mode::Off);
                }
                if record.recipients.iter().all(|one| (one.opens, one.links) == (Mode::Off, Mode::Off)) {
                    record.untouched.get_or_insert(why);
                }
            }
            Ok(())
        })
    }

    fn put_on_record(&self, recording: Arc<Recording>) -> BoxFuture<'_, Result<Vec<i64>, StoreError>> {
        Box::pin(async move {
            let mut kept = self.kept();
            let sequences = recording.events.iter().map(|event| kept.put(event)).collect();
            recording.mended.iter().for_each(|mended| kept.mend(mended));
            Ok(sequences)
        })
    }

    fn expire(&self, expiry: Expiry) -> BoxFuture<'_, Result<Expired, StoreError>> {
        Box::pin(async move {
            let mut kept = self.kept();
            let Kept { messages, events, gone, .. } = &mut *kept;
            let (messages_before, gone_before) = (messages.len(), gone.len());
            for (sequence, event) in (1..).zip(&*events) {
                let org = messages.get(&event.id.message).map(|record| &record.org);
                if event.at_ms < expiry.events_before_ms(org) {
                    gone.insert(sequence);
                }
            }
            messages.retain(|_, record| record.accepted_at_ms >= expiry.messages_before_ms(&record.org));
            for event in events.iter_mut().filter(|event| !messages.contains_key(&event.id.message)) {
                *event = without_person(event, event.id.recipient);
            }
            let number = |less: usize, more: usize| u32::try_from(more - less).unwrap_or(u32::MAX);
            let messages = number(messages.len(), messages_before);
            Ok(Expired { messages, events: number(gone_before, gone.len()), next: None })
        })
    }

    fn held(&self, address: String, org: Option<OrgName>, limit: u32) -> BoxFuture<'_, Result<Vec<Held>, StoreError>> {
        Box::pin(async move {
            let (kept, wanted) = (self.kept(), Wanted::new(&address));
            let of_org = kept.messages.values().filter(|r| org.as_ref().is_none_or(|org| *org == r.org));
            let mut held: Vec<Held> = of_org
                .flat_map(|r| r.recipients.iter().map(move |recipient| (r, recipient)))
                .filter(|(_, recipient)| wanted.is(&recipient.address))
                .map(|(r, recipient)| self::held(&kept, r, recipient))
                .collect();
            held.sort_by_key(|held| std::cmp::Reverse((held.accepted_at_ms, held.message)));
            held.truncate(limit as usize);
            let mut room = HELD_EVENTS_MAX;
            for held in &mut held {
                newest(held, room);
                room -= held.events.len();
            }
            Ok(held)
        })
    }

    fn erase(&self, recipients: Vec<(MessageId, u16)>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut kept = self.kept();
            for (message, index) in recipients {
                kept.erase(message, index);
            }
            Ok(())
        })
    }

    fn copies(
        &self,
        ids: Vec<CopyId>,
        events_since_ms: Option<i64>,
    ) -> BoxFuture<'_, Result<Vec<Option<CopyFacts>>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            Ok(ids.into_iter().map(|id| kept.copy(id, events_since_ms)).collect())
        })
    }

    fn copy_counts(&self, id: MessageId) -> BoxFuture<'_, Result<Vec<CopyCount>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let mut counted: BTreeMap<u16, Counts> = BTreeMap::new();
            for event in kept.known_events().filter(|event| event.id.message == id) {
                let counts = counted.entry(event.id.recipient).or_default();
                *counts = counts.and(Counts::of(event.kind, event.verdict));
            }
            Ok(counted.into_iter().map(|(copy_index, counts)| CopyCount { copy_index, counts }).collect())
        })
    }

    fn judgements(&self) -> BoxFuture<'_, Result<Judgements, StoreError>> {
        Box::pin(async move {
            let last = i64::try_from(self.kept().judged.len()).unwrap_or(i64::MAX);
            Ok(Judgements { first: 1.max(last - JUDGEMENTS_MAX + 1), last })
        })
    }

    fn spreads(&self, id: MessageId) -> BoxFuture<'_, Result<Vec<CopySpread>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            type Seen<'a> = (HashSet<&'a str>, HashSet<[u8; 8]>, i64);
            let mut spreads: BTreeMap<u16, Seen<'_>> = BTreeMap::new();
            let present = (1..).zip(&kept.events).filter(|(sequence, _)| !kept.gone.contains(sequence));
            let read = present.map(|(_, event)| event).filter(|event| event.id.message == id);
            for event in read.filter(|event| event.verdict.counts()) {
                let (countries, networks, events) = spreads.entry(event.id.recipient).or_default();
                *events += 1;
                if event.verdict != Verdict::Proxy && event.via.is_none() {
                    countries.extend(event.country.as_deref());
                    networks.extend(event.network_hash);
                }
            }
            let number = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
            let spread = |(copy_index, (countries, networks, events)): (u16, (HashSet<_>, HashSet<_>, i64))| {
                CopySpread { copy_index, countries: number(countries.len()), networks: number(networks.len()), events }
            };
            Ok(spreads.into_iter().map(spread).collect())
        })
    }

    fn day_counts(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<DayCount>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let mut counted: BTreeMap<(OrgName, Option<String>, i64), Counts> = BTreeMap::new();
            for event in kept.known_events() {
                let Some(record) = kept.messages.get(&event.id.message) else { continue };
                let key = (record.org.clone(), record.login.clone(), day(event.at_ms));
                let counts = counted.entry(key).or_default();
                *counts = counts.and(Counts::of(event.kind, event.verdict));
            }
            let of_days = counted.into_iter().map(|((org, login, day), counts)| DayCount { org, login, day, counts });
            Ok(of_days
                .filter(|count| filter.org.as_ref().is_none_or(|org| *org == count.org))
                .filter(|count| {
                    filter.login.as_ref().is_none_or(|login| *login == count.login.clone().unwrap_or_default())
                })
                .filter(|count| (filter.first_day..=filter.last_day).contains(&count.day))
                .take(filter.limit.clamp(1, DAYS_MAX) as usize)
                .collect())
        })
    }

    fn link_counts(&self, id: MessageId) -> BoxFuture<'_, Result<Vec<LinkCount>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let mut counted: BTreeMap<(u16, u16), Counts> = BTreeMap::new();
            for event in kept.known_events().filter(|e| e.id.message == id && e.kind == EventKind::Click) {
                let counts = counted.entry((event.id.link, event.id.recipient)).or_default();
                *counts = counts.and(Counts::of(event.kind, event.verdict));
            }
            let count = |((link, copy_index), Counts { clicks, machine_clicks, .. })| LinkCount {
                link,
                copy_index,
                clicks,
                machine_clicks,
            };
            Ok(counted.into_iter().map(count).collect())
        })
    }

    fn sealed_with(&self, key_id: u8) -> BoxFuture<'_, Result<Sealed, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let sealed = kept.messages.values().filter(|record| record.key_id == key_id);
            let add = |sum: Sealed, record: &MessageRecord| Sealed {
                mails: sum.mails + 1,
                links: sum.links + record.links.len() as u64,
            };
            Ok(sealed.fold(Sealed::default(), add))
        })
    }

    fn ranked_links(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<RankedLink>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let mut counted: BTreeMap<String, Counts> = BTreeMap::new();
            for (record, event) in kept.of_days(&filter).filter(|(_, event)| event.kind == EventKind::Click) {
                let Some(link) = record.links.iter().find(|link| link.index == event.id.link) else { continue };
                let counts = counted.entry(link.destination.clone()).or_default();
                *counts = counts.and(Counts::of(event.kind, event.verdict));
            }
            let rank = |(destination, Counts { clicks, machine_clicks, .. })| RankedLink {
                destination,
                clicks,
                machine_clicks,
            };
            let mut ranked: Vec<RankedLink> = counted.into_iter().map(rank).collect();
            ranked.sort_by_key(|link| std::cmp::Reverse((link.clicks, link.machine_clicks)));
            ranked.truncate(filter.limit as usize);
            Ok(ranked)
        })
    }

    fn places(&self, filter: DayCountFilter) -> BoxFuture<'_, Result<Vec<PlaceCount>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let mut counted: BTreeMap<String, Counts> = BTreeMap::new();
            for (_, event) in kept.of_days(&filter) {
                let Some(country) = own_place(event) else { continue };
                let counts = counted.entry(country.to_owned()).or_default();
                *counts = counts.and(Counts::of(event.kind, event.verdict));
            }
            let place = |(country, Counts { opens, clicks, .. })| PlaceCount { country, opens, clicks };
            let mut places: Vec<PlaceCount> = counted.into_iter().map(place).collect();
            places.sort_by_key(|place| std::cmp::Reverse(place.opens + place.clicks));
            places.truncate(filter.limit as usize);
            Ok(places)
        })
    }

    fn correspondents(&self, filter: CorrespondentFilter) -> BoxFuture<'_, Result<Vec<Correspondent>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let wanted = filter.holding.as_ref().map(|text| text.to_ascii_lowercase());
            let mut found: BTreeMap<String, Correspondent> = BTreeMap::new();
            for (record, recipient) in kept.sent(&filter) {
                let folded = recipient.address.to_ascii_lowercase();
                let name = recipient.name.to_ascii_lowercase();
                let fits = wanted.as_ref().is_none_or(|wanted| folded.contains(wanted) || name.contains(wanted));
                let later = filter.after.as_ref().is_none_or(|after| folded > after.to_ascii_lowercase());
                if fits && later && !folded.is_empty() {
                    let one = found.entry(folded).or_insert_with(|| Correspondent {
                        address: recipient.address.clone(),
                        name: String::new(),
                        mails: 0,
                        last_ms: 0,
                        opens_known: 0,
                        counts: Counts::default(),
                    });
                    one.mails += 1;
                    if !recipient.name.is_empty() && record.accepted_at_ms >= one.last_ms {
                        one.name.clone_from(&recipient.name);
                    }
                    one.last_ms = one.last_ms.max(record.accepted_at_ms);
                    let alone = record.recipients.iter().filter(|r| r.copy_index == recipient.index).count() == 1;
                    one.opens_known += u64::from(alone && recipient.opens == Mode::Individual);
                    for event in kept.events_of(record, recipient) {
                        one.counts = one.counts.and(Counts::of(event.kind, event.verdict));
                    }
                }
            }
            Ok(found.into_values().take(filter.limit as usize).collect())
        })
    }

    fn correspondence(&self, filter: CorrespondentFilter) -> BoxFuture<'_, Result<Vec<Held>, StoreError>> {
        Box::pin(async move {
            let (kept, wanted) = (self.kept(), filter.holding.clone().unwrap_or_default());
            let mut held: Vec<Held> = kept
                .sent(&filter)
                .filter(|(_, recipient)| recipient.address.eq_ignore_ascii_case(&wanted))
                .filter(|(r, _)| {
                    filter.before.is_none_or(|(at_ms, id)| place(r.accepted_at_ms, r.id) < place(at_ms, id))
                })
                .map(|(record, recipient)| held(&kept, record, recipient))
                .collect();
            held.sort_by_key(|held| std::cmp::Reverse((held.accepted_at_ms, held.message)));
            held.truncate(filter.limit as usize);
            held.iter_mut().for_each(|held| newest(held, PAGE_EVENTS_MAX));
            Ok(held)
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
                .filter(|r| filter.after.is_none_or(|(at_ms, id)| place(r.accepted_at_ms, r.id) > place(at_ms, id)))
                .filter(|r| filter.wanted.fits(r))
                .map(|r| summary(r, &kept.events))
                .filter(|s| filter.wanted.readers.is_none_or(|did| did.fits(s.opens, s.clicks)))
                .collect();
            found.sort_by_key(|s| std::cmp::Reverse(place(s.accepted_at_ms, s.id)));
            let limit = filter.limit.clamp(1, messages::LIMIT_MAX) as usize;
            if filter.after.is_some() {
                drop(found.drain(..found.len().saturating_sub(limit)));
            }
            found.truncate(limit);
            Ok(found)
        })
    }

    fn message(&self, id: MessageId) -> BoxFuture<'_, Result<Option<MessageRecord>, StoreError>> {
        Box::pin(async move { Ok(self.kept().messages.get(&id).cloned()) })
    }

    fn timeline(&self, filter: TimelineFilter) -> BoxFuture<'_, Result<Vec<TimelineEntry>, StoreError>> {
        Box::pin(async move {
            let kept = self.kept();
            let present = (1..).zip(&kept.events).filter(|(sequence, _)| !kept.gone.contains(sequence));
            let entries = present.map(|(sequence, event)| entry(sequence, event, &kept.messages));
            let mut found: Vec<TimelineEntry> = entries
                .filter(|e| e.sequence > filter.after_sequence)
                .filter(|e| filter.before_sequence.is_none_or(|before| e.sequence < before))
                .filter(|e| filter.message.is_none_or(|id| id == e.event.id.message))
                .filter(|e| filter.copy.is_none_or(|copy| copy == e.event.id.recipient))
                .filter(|e| filter.org.is_none() || filter.org == e.org)
                .filter(|e| filter.login.is_none() || filter.login == e.login)
                .filter(|e| filter.kind.is_none_or(|kind| kind == e.event.kind))
                .filter(|e| filter.judged_after.is_none_or(|after| kept.judged_after(after).contains(&e.sequence)))
                .filter(|e| !filter.with_network || e.event.network_hash.is_some())
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

fn held(kept: &Kept, record: &MessageRecord, recipient: &RecipientRecord) -> Held {
    Held {
        message: record.id,
        accepted_at_ms: record.accepted_at_ms,
        org: record.org.clone(),
        header_from: record.header_from.clone(),
        subject: record.subject.clone(),
        recipient: recipient.clone(),
        events: kept.events_of(record, recipient),
        more_events: false,
    }
}

/// Leaves as many events as there is room for.
fn newest(held: &mut Held, room: usize) {
    held.more_events = held.events.len() > room;
    drop(held.events.drain(..held.events.len().saturating_sub(room)));
}

/// The order of the list; ids compare as SQLite's signed integers do.
fn place(at_ms: i64, id: MessageId) -> (i64, i64) {
    (at_ms, id.0.cast_signed())
}

fn summary(record: &MessageRecord, events: &[Event]) -> MessageSummary {
    let of_message = events.iter().filter(|e| e.id.message == record.id);
    let counts = of_message.fold(Counts::default(), |sum, e| sum.and(Counts::of(e.kind, e.verdict)));
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
        opens: counts.opens.cast_unsigned(),
        clicks: counts.clicks.cast_unsigned(),
        machine_opens: counts.machine_opens.cast_unsigned(),
        machine_clicks: counts.machine_clicks.cast_unsigned(),
        tracked: record.untouched.is_none(),
    }
}

fn entry(sequence: i64, event: &Event, messages: &BTreeMap<MessageId, MessageRecord>) -> TimelineEntry {
    let record = messages.get(&event.id.message);
    let link = |r: &MessageRecord| r.links.iter().find(|l| l.index == event.id.link).map(|l| l.destination.clone());
    TimelineEntry {
        sequence,
        event: event.clone(),
        recipient: record.and_then(|r| sole_reader(r, event)).map(addressee),
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

fn addressee(recipient: &RecipientRecord) -> Addressee {
    Addressee { address: recipient.address.clone(), name: recipient.name.clone() }
}

fn mode_of(recipient: &RecipientRecord, kind: EventKind) -> Mode {
    match kind {
        EventKind::Open => recipient.opens,
        EventKind::Click => recipient.links,
    }
}
