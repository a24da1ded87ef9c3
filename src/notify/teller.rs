//! News become what is to be told: who wants which, one commit a batch.

use std::time::Duration;

use tokio::sync::watch;

use super::letter::Line;
use super::{Notify, count_dropped, message_id, payload, stopped};
use crate::event::EventKind;
use crate::settings::OrgName;
use crate::settings::notices::Webhook;
use crate::store::outbox::{Batch, Marks, NewDelivery, NewLine, News, Telling};
use crate::store::record::TimelineEntry;
use crate::store::{Snapshot, StoreError};

/// How long a click is held back: a burst of ten seconds shows a person's click a machine's, and what it is recorded with may
/// take a moment. Opens are judged by nothing that comes later and are told at once, also those behind a click.
pub(super) const CLICK_HELD_MS: i64 = 12_000;
/// How often news are looked for when nobody says that there are any: held clicks, and refusals.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a failure of the store.
const REST: Duration = Duration::from_secs(10);
/// Lines that may wait for one login: a notice names [`super::Options::mail_lines_max`] of them and counts the others.
const LINES_MAX: u32 = 1_000;

/// Tells until it is time to stop.
pub(super) async fn run(notify: &Notify, mut stop: watch::Receiver<bool>) {
    let mut news = notify.parts.news.clone();
    let (mut failing, mut idle) = (false, Idle::default());
    loop {
        let rest = match (round(notify, &mut idle).await, failing) {
            (Ok(()), _) => {
                failing = false;
                LOOK_EVERY
            }
            (Err(error), false) => {
                tracing::error!(%error, "nobody can be told of events for now; they are on record and will be told");
                failing = true;
                REST
            }
            (Err(_), true) => REST,
        };
        tokio::select! {
            () = stopped(&mut stop) => return,
            _ = news.changed(), if !failing && !idle.nobody => {}
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// What is remembered while there is nobody to tell.
#[derive(Default)]
struct Idle {
    /// There is nobody.
    nobody: bool,
    /// Up to where that is written down: whoever comes is told of what is recorded from then on.
    mark: Marks,
}

async fn round(notify: &Notify, idle: &mut Idle) -> Result<(), StoreError> {
    loop {
        let snapshot = notify.parts.settings.snapshot();
        idle.nobody = !is_anybody(&snapshot);
        if idle.nobody {
            let last = notify.parts.outbox.last().await?;
            if last != idle.mark {
                notify.parts.outbox.tell(Telling { to: last, ..Telling::default() }).await?;
                idle.mark = last;
            }
            return Ok(());
        }
        let now_ms = (notify.parts.clock)();
        let batch = notify.parts.outbox.news(now_ms.saturating_sub(CLICK_HELD_MS)).await?;
        if batch.news.is_empty() && !batch.more {
            return advance(notify, &batch).await;
        }
        let more = batch.more;
        let telling = telling(notify, &snapshot, batch, now_ms);
        let any = !telling.deliveries.is_empty();
        count_dropped(notify.parts.outbox.tell(telling).await?);
        if any {
            notify.due.notify_one();
        }
        if !more {
            return Ok(());
        }
    }
}

/// Whether anybody wants to be told anything.
fn is_anybody(snapshot: &Snapshot) -> bool {
    snapshot.webhooks.values().any(|webhook| !webhook.paused) || snapshot.notices.values().any(|choice| choice.mail)
}

/// Nothing worth telling: the mark moves when it lags so far that reading to it again would cost something.
async fn advance(notify: &Notify, batch: &Batch) -> Result<(), StoreError> {
    if batch.quiet < MARK_LAG_MAX && batch.to.refusals == 0 {
        return Ok(());
    }
    let telling = Telling { to: batch.to, ..Telling::default() };
    notify.parts.outbox.tell(telling).await.map(drop)
}

/// Events that may be looked at again rather than written about: a commit costs more.
const MARK_LAG_MAX: i64 = 20;

fn telling(notify: &Notify, snapshot: &Snapshot, batch: Batch, now_ms: i64) -> Telling {
    let mut telling =
        Telling { to: batch.to, waiting_max: notify.options.waiting_max, lines_max: LINES_MAX, ..Telling::default() };
    for news in &batch.news {
        let wanted = snapshot.webhooks.values().filter(|webhook| wants(snapshot, webhook, news));
        for webhook in wanted {
            let Some(message_id) = message_id() else {
                tracing::error!("the system gives no random numbers: a webhook is not told");
                continue;
            };
            telling.deliveries.push(NewDelivery {
                webhook: webhook.id,
                message_id,
                topic: payload::topic(news).as_str().to_owned(),
                message: Some(message_of(news)),
                recipient: recipient_of(news),
                body: payload::body(news, webhook.words),
                at_ms: now_ms,
            });
        }
        // Upstream would refuse the mail for days: it is not written in the first place.
        telling.lines.extend(line(snapshot, news).filter(|line| notify.no_mail_for(&line.org).is_none()));
    }
    telling
}

/// Whether a webhook is told. One whose sender is gone, or sends for others now, is not.
fn wants(snapshot: &Snapshot, webhook: &Webhook, news: &News) -> bool {
    let (org, login) = whose(news);
    let is_wide_enough = match news {
        News::Refused { .. } => true,
        News::Event { entry, first, .. } => webhook.level.tells(entry.event.kind == EventKind::Click, *first),
    };
    let is_theirs = match &webhook.login {
        None => true,
        Some(sender) => {
            login == Some(sender)
                && snapshot.users.get(sender).is_some_and(|user| user.org.as_ref() == Some(&webhook.org))
        }
    };
    !webhook.paused
        && org == Some(&webhook.org)
        && is_theirs
        && is_wide_enough
        && webhook.topics.contains(&payload::topic(news))
}

/// The line of a notice by mail, if its sender wants one. Refusals have their own reports.
fn line(snapshot: &Snapshot, news: &News) -> Option<NewLine> {
    let News::Event { entry, first, reverse_path, message_id_header } = news else { return None };
    let TimelineEntry { event, org: Some(org), login: Some(login), .. } = entry.as_ref() else { return None };
    let user = snapshot.users.get(login)?;
    let choice = snapshot.notices_of(org, login);
    let is_told = choice.mail && choice.level.tells(event.kind == EventKind::Click, *first);
    if !is_told || user.org.as_ref().is_some_and(|of| of != org) || reverse_path.is_empty() {
        return None;
    }
    Some(NewLine {
        login: login.clone(),
        org: org.clone(),
        message: event.id.message,
        recipient: recipient_of(news),
        at_ms: event.at_ms,
        sender: reverse_path.clone(),
        line: Line::of(entry, message_id_header).print(),
    })
}

fn whose(news: &News) -> (Option<&OrgName>, Option<&String>) {
    match news {
        News::Event { entry, .. } => (entry.org.as_ref(), entry.login.as_ref()),
        News::Refused { org, login, .. } => (Some(org), login.as_ref()),
    }
}

fn message_of(news: &News) -> crate::token::MessageId {
    match news {
        News::Event { entry, .. } => entry.event.id.message,
        News::Refused { message, .. } => *message,
    }
}

fn recipient_of(news: &News) -> Option<u16> {
    match news {
        News::Event { entry, .. } => entry.recipient.as_ref().map(|_| entry.event.id.recipient),
        News::Refused { index, .. } => Some(*index),
    }
}

#[cfg(test)]
mod tests {
    use super::super::payload::tests::{event, refused, webhook};
    use super::*;
    use crate::event::Verdict;
    use crate::settings::notices::{Level, NoticeCeiling, NoticeChoice, Topic};
    use crate::settings::{Role, User};

    fn opened(first: bool) -> News {
        event(EventKind::Open, Verdict::Person, first)
    }

    fn clicked() -> News {
        event(EventKind::Click, Verdict::Proxy, false)
    }

    /// ann of acme.
    fn snapshot() -> Snapshot {
        let user = User::new("ann".to_owned(), Some("acme".parse().unwrap()), Role::Sender, String::new());
        Snapshot { users: [("ann".to_owned(), user)].into(), ..Snapshot::default() }
    }

    /// What is told: (a first open, another open, a click, a refusal of a mail from a trusted network).
    fn told(webhook: &Webhook) -> [bool; 4] {
        [opened(true), opened(false), clicked(), refused()].map(|news| wants(&snapshot(), webhook, &news))
    }

    #[test]
    fn who_is_told_of_what() {
        let usual = webhook(1);
        let org = |name: &str| name.parse().unwrap();
        for (webhook, expected) in [
            // the usual: first opens, clicks, refusals; all opens; none
            (usual.clone(), [true, false, true, true]),
            (Webhook { level: Level::Every, ..usual.clone() }, [true, true, true, true]),
            (Webhook { level: Level::None, ..usual.clone() }, [false, false, false, true]),
            // by topic
            (Webhook { topics: vec![Topic::Clicked], ..usual.clone() }, [false, false, true, false]),
            (Webhook { topics: vec![], ..usual.clone() }, [false; 4]),
            // another organisation's, a paused one
            (Webhook { org: org("other"), ..usual.clone() }, [false; 4]),
            (Webhook { paused: true, ..usual.clone() }, [false; 4]),
            // one sender's own mail; of a sender who is not there, or who belongs elsewhere now
            (Webhook { login: Some("ann".to_owned()), ..usual.clone() }, [true, false, true, false]),
            (Webhook { login: Some("bob".to_owned()), ..usual.clone() }, [false; 4]),
        ] {
            assert_eq!(told(&webhook), expected, "{webhook:?}");
        }
        let mut moved = snapshot();
        moved.users.get_mut("ann").unwrap().org = Some(org("other"));
        assert!(!wants(&moved, &Webhook { login: Some("ann".to_owned()), ..usual }, &opened(true)));
    }

    #[test]
    fn mail_is_for_those_who_asked() {
        let wish = |level, mail| NoticeChoice { level, mail };
        let lines = |choice: Option<NoticeChoice>, ceiling: Option<NoticeCeiling>| {
            let mut snapshot = snapshot();
            snapshot.notices.extend(choice.map(|choice| ("ann".to_owned(), choice)));
            snapshot.notice_ceilings.extend(ceiling.map(|ceiling| ("acme".parse().unwrap(), ceiling)));
            [opened(true), opened(false), clicked(), refused()].map(|news| line(&snapshot, &news).is_some())
        };
        for (choice, ceiling, expected) in [
            (None, None, [false; 4]),
            (Some(wish(Level::First, true)), None, [true, false, true, false]),
            (Some(wish(Level::Every, true)), None, [true, true, true, false]),
            (Some(wish(Level::None, true)), None, [false; 4]),
            // what the organisation allows
            (
                Some(wish(Level::Every, true)),
                Some(NoticeCeiling { level: Level::First, mail: true }),
                [true, false, true, false],
            ),
            (Some(wish(Level::Every, true)), Some(NoticeCeiling { level: Level::Every, mail: false }), [false; 4]),
        ] {
            assert_eq!(lines(choice, ceiling), expected, "{choice:?} {ceiling:?}");
        }
        let mut asked = snapshot();
        asked.notices.insert("ann".to_owned(), wish(Level::First, true));
        let told = line(&asked, &opened(true)).unwrap();
        assert_eq!((told.login.as_str(), told.sender.as_str()), ("ann", "ann@acme.example"));
    }
}
