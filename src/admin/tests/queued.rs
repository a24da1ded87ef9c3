//! A queue of five mails: every stage, every kind of owner, and one hostile in every text.

use std::sync::{Mutex, PoisonError};

use super::fixture::{ANNS, BOSSES, EVES, HOSTILE, NETWORKS, START_MS, org_name};
use crate::admin::{PortError, QueueEntry, QueueHealth, QueueKeeper, QueueList, QueueOf, QueueRecipient, QueueStage};
use crate::store::BoxFuture;
use crate::token::MessageId;

/// A report to ann.
pub(super) const REPORT: MessageId = MessageId(0x4e);

/// The mails still there, and those that were hurried.
pub(super) struct QueueOfFive {
    pub(super) mails: Mutex<Vec<QueueEntry>>,
    pub(super) hurried: Mutex<Vec<MessageId>>,
    pub(super) health: Mutex<QueueHealth>,
}

impl QueueOfFive {
    pub(super) fn new() -> QueueOfFive {
        let health =
            QueueHealth { depth: 5, corrupt: 2, free_bytes: 12_400_000_000, short_of_room: false, upstream_down: true };
        QueueOfFive { mails: Mutex::new(mails()), hurried: Mutex::default(), health: Mutex::new(health) }
    }

    pub(super) fn ids(&self) -> Vec<MessageId> {
        self.mails.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|mail| mail.id).collect()
    }
}

fn mails() -> Vec<QueueEntry> {
    use QueueStage::{BounceOwed, Delivered, InFlight, Unknown, Waiting};
    let mail = |id, org: &str, login: Option<&str>, recipients| QueueEntry {
        id,
        accepted_at_ms: START_MS,
        org: Some(org_name(org)),
        login: login.map(str::to_owned),
        own_report: false,
        from: format!("{}@{org}.example", login.unwrap_or("robot")),
        size_bytes: 20_480,
        recipients,
    };
    let anns = vec![
        recipient("bob@reader.example", Delivered, "250 2.0.0 Ok: queued as 4F1"),
        recipient("cy@reader.example", Waiting, "451 4.7.1 <cy@reader.example>: Greylisted, try again later"),
        recipient("di@reader.example", Unknown, "connection lost after the end of data"),
        recipient("ed@reader.example", InFlight, ""),
    ];
    let hostile = vec![
        recipient(&format!("\"{HOSTILE}\"@x.example"), Waiting, HOSTILE),
        QueueRecipient { last_host: HOSTILE.to_owned(), ..recipient(HOSTILE, BounceOwed, HOSTILE) },
    ];
    let secret = vec![recipient("secret@reader.example", Waiting, "450 4.2.0 <secret@reader.example>: busy")];
    let accepted_at_ms = START_MS + 1;
    let report = QueueEntry {
        own_report: true,
        accepted_at_ms,
        from: String::new(),
        ..mail(REPORT, "acme", None, secret.clone())
    };
    vec![
        mail(ANNS, "acme", Some("ann"), anns),
        QueueEntry { from: HOSTILE.to_owned(), ..mail(BOSSES, "acme", Some("boss"), hostile) },
        mail(EVES, "other", Some("eve"), secret.clone()),
        mail(NETWORKS, "acme", None, secret),
        report,
    ]
}

fn recipient(address: &str, stage: QueueStage, reply: &str) -> QueueRecipient {
    let waits = matches!(stage, QueueStage::Waiting | QueueStage::Unknown | QueueStage::BounceOwed);
    QueueRecipient {
        address: address.to_owned(),
        stage,
        attempts: if reply.is_empty() { 0 } else { 3 },
        next_try_ms: waits.then_some(START_MS + 3_600_000),
        last_reply: reply.to_owned(),
        last_host: "smtp.example.net".to_owned(),
    }
}

impl QueueKeeper for QueueOfFive {
    fn list(&self, whose: QueueOf, max: usize) -> BoxFuture<'_, Result<QueueList, PortError>> {
        let fits =
            |mail: &&QueueEntry| whose.fits(mail.org.as_ref().map_or("", |org| org.as_str()), mail.login.as_deref());
        let mails: Vec<QueueEntry> = self.mails.lock().unwrap().iter().filter(fits).cloned().collect();
        let cut = mails.len() > max;
        Box::pin(async move { Ok(QueueList { mails: mails.into_iter().take(max).collect(), cut }) })
    }

    fn find(&self, id: MessageId) -> BoxFuture<'_, Result<Option<QueueEntry>, PortError>> {
        let found = self.mails.lock().unwrap().iter().find(|mail| mail.id == id).cloned();
        Box::pin(async { Ok(found) })
    }

    fn retry(&self, id: MessageId) -> BoxFuture<'_, Result<bool, PortError>> {
        self.hurried.lock().unwrap().push(id);
        Box::pin(async { Ok(true) })
    }

    fn discard(&self, id: MessageId) -> BoxFuture<'_, Result<bool, PortError>> {
        let mut mails = self.mails.lock().unwrap();
        let before = mails.len();
        mails.retain(|mail| mail.id != id);
        let gone = mails.len() < before;
        Box::pin(async move { Ok(gone) })
    }

    fn health(&self) -> BoxFuture<'_, Result<QueueHealth, PortError>> {
        let health = *self.health.lock().unwrap();
        Box::pin(async move { Ok(health) })
    }
}
