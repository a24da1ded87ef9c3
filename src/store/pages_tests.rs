//! What the pages ask: searches, people, links and places; the same of both histories.

use std::sync::Arc;

use super::contract_tests::{event, record};
use super::history::{Options, SqliteHistory};
use super::memory::MemoryHistory;
use super::record::*;
use super::*;
use crate::event::{EventKind, Rule, Verdict};
use crate::settings::Mode;

const DAY_MS: i64 = 86_400_000;

async fn each(check: impl AsyncFn(Arc<dyn HistoryStore>)) {
    let folder = tempfile::tempdir().unwrap();
    check(Arc::new(MemoryHistory::default())).await;
    check(Arc::new(SqliteHistory::open(&folder.path().join("h"), &Options::default()).unwrap())).await;
}

fn recipient(index: u16, address: &str, state: DeliveryState) -> RecipientRecord {
    RecipientRecord {
        index,
        copy_index: index,
        address: address.to_owned(),
        name: if address.to_ascii_lowercase().starts_with("bob") {
            "Robert 50% Reader".to_owned()
        } else {
            String::new()
        },
        opens: Mode::Individual,
        links: Mode::Individual,
        delivery: Delivery { state, reply: String::new(), at_ms: 5 },
    }
}

fn mail(id: u64, at_ms: i64, subject: &str, login: &str, recipients: Vec<RecipientRecord>) -> MessageRecord {
    MessageRecord {
        accepted_at_ms: at_ms,
        org: "acme".parse().unwrap(),
        login: Some(login.to_owned()),
        header_from: format!("{login}@acme.example"),
        subject: subject.to_owned(),
        recipients,
        links: vec![LinkRecord { index: 0, destination: "https://a.example/".to_owned() }],
        ..record(id)
    }
}

async fn filled(store: &dyn HistoryStore) {
    use DeliveryState::{Accepted, Deferred, Pending, Refused};
    let both = |one, other| vec![recipient(1, "Bob@reader.example", one), recipient(2, "cy@reader.example", other)];
    let mails = [
        mail(1, 10, "Offer 50%", "ann", both(Accepted, Refused)),
        mail(2, 20, "Minutes", "boss", both(Accepted, Pending)),
        mail(3, 30, "An OFFER again", "ann", vec![recipient(1, "bob@reader.example", Deferred)]),
        mail(4, 40, "50 ways", "ann", vec![recipient(1, "dan_x@other.example", Accepted)]),
    ];
    for mail in mails {
        store.insert(mail).await.unwrap();
    }
    let placed = |mut event: crate::event::Event, country: &str| {
        event.country = Some(country.to_owned());
        event.via = None;
        event
    };
    let events = vec![
        placed(event(1, 1, EventKind::Open, Verdict::Person), "DE"),
        placed(event(1, 1, EventKind::Click, Verdict::Person), "FR"),
        placed(event(1, 1, EventKind::Open, Verdict::Machine), "US"),
        placed(event(3, 1, EventKind::Open, Verdict::Person), "DE"),
    ];
    let events = events.into_iter().map(|e| crate::event::Event { id: crate::token::TokenId { link: 0, ..e.id }, ..e });
    store.record(events.collect()).await.unwrap();
}

#[tokio::test]
async fn a_search_finds_what_fits_and_pages_both_ways() {
    each(async |store| {
        filled(&*store).await;
        let found = async |wanted: Wanted| -> Vec<u64> {
            let filter = MessageFilter { wanted, limit: 9, ..MessageFilter::default() };
            store.messages(filter).await.unwrap().iter().map(|s| s.id.0).collect()
        };
        let text = |text: &str| Some(text.to_owned());
        let none = Wanted::default;
        for (wanted, expected) in [
            // anywhere, in either case; no letter of it is a pattern
            (Wanted { subject: text("offer"), ..none() }, vec![3, 1]),
            (Wanted { subject: text("50%"), ..none() }, vec![1]),
            (Wanted { recipient: text("BOB@"), ..none() }, vec![3, 2, 1]),
            (Wanted { recipient: text("n_x"), ..none() }, vec![4]),
            (Wanted { recipient: text("b_b"), ..none() }, vec![]),
            // by name, too
            (Wanted { recipient: text("robert 50% r"), ..none() }, vec![3, 2, 1]),
            (Wanted { recipient: text("50_ r"), ..none() }, vec![]),
            (Wanted { sender: text("boss"), ..none() }, vec![2]),
            // from then on, and before then
            (Wanted { from_ms: Some(20), until_ms: Some(40), ..none() }, vec![3, 2]),
            // somebody's delivery
            (Wanted { delivery: Some(DeliveryState::Accepted), ..none() }, vec![4, 2, 1]),
            (Wanted { delivery: Some(DeliveryState::Pending), ..none() }, vec![2]),
            (Wanted { delivery: Some(DeliveryState::Refused), ..none() }, vec![1]),
            (Wanted { delivery: Some(DeliveryState::Deferred), ..none() }, vec![3]),
            (Wanted { delivery: Some(DeliveryState::Unknown), ..none() }, vec![]),
            // people, not machines
            (Wanted { readers: Some(ReadersDid::Opened), ..none() }, vec![3, 1]),
            (Wanted { readers: Some(ReadersDid::NotOpened), ..none() }, vec![4, 2]),
            (Wanted { readers: Some(ReadersDid::Clicked), ..none() }, vec![1]),
            (Wanted { readers: Some(ReadersDid::NotClicked), subject: text("offer"), ..none() }, vec![3]),
        ] {
            assert_eq!(found(wanted.clone()).await, expected, "{wanted:?}");
        }
        let after = Some((10, MessageId(1)));
        let filter = MessageFilter { after, limit: 2, ..MessageFilter::default() };
        let page: Vec<u64> = store.messages(filter).await.unwrap().iter().map(|s| s.id.0).collect();
        assert_eq!(page, [3, 2], "the oldest of the newer, newest first");
    })
    .await;
}

#[tokio::test]
async fn people_and_what_they_did() {
    each(async |store| {
        filled(&*store).await;
        let own = CorrespondentFilter { login: Some("ann".to_owned()), limit: 9, ..CorrespondentFilter::default() };
        let people = store.correspondents(own.clone()).await.unwrap();
        let shown: Vec<_> =
            people.iter().map(|p| (p.address.to_lowercase(), p.mails, p.last_ms, p.counts.opens)).collect();
        let row = |address: &str, mails, last_ms, opens| (address.to_owned(), mails, last_ms, opens);
        assert_eq!(
            shown,
            [
                row("bob@reader.example", 2, 30, 2),
                row("cy@reader.example", 1, 10, 0),
                row("dan_x@other.example", 1, 40, 0)
            ]
        );
        assert_eq!((people[0].counts.clicks, people[0].counts.machine_opens, people[0].opens_known), (1, 1, 2));
        assert_eq!((people[0].name.as_str(), people[1].name.as_str()), ("Robert 50% Reader", ""));
        for (holding, expected) in [("ROBERT", 1), ("t 50% R", 1), ("READER", 2), ("reader.ex", 2), ("50_ R", 0)] {
            let named = CorrespondentFilter { holding: Some(holding.to_owned()), ..own.clone() };
            assert_eq!(store.correspondents(named).await.unwrap().len(), expected, "{holding}");
        }
        let next = CorrespondentFilter { after: Some("Cy@reader.example".to_owned()), ..own.clone() };
        assert_eq!(store.correspondents(next).await.unwrap().len(), 1);
        let bob = CorrespondentFilter { holding: Some("BOB@reader.example".to_owned()), ..own.clone() };
        let held = store.correspondence(bob.clone()).await.unwrap();
        assert_eq!(held.iter().map(|h| (h.message.0, h.events.len())).collect::<Vec<_>>(), [(3, 1), (1, 3)]);
        assert!(held.iter().all(|held| held.recipient.name == "Robert 50% Reader"));

        let older = CorrespondentFilter { before: Some((held[0].accepted_at_ms, held[0].message)), ..bob.clone() };
        let older = store.correspondence(older).await.unwrap();
        assert_eq!(older.iter().map(|h| h.message.0).collect::<Vec<_>>(), [1], "what is before the newest");

        // Nobody is left of somebody who was erased.
        store.erase(vec![(MessageId(1), 1), (MessageId(3), 1)]).await.unwrap();
        assert!(store.correspondence(bob).await.unwrap().is_empty());
        assert_eq!(store.correspondents(own).await.unwrap().len(), 2);
    })
    .await;
}

/// A verdict that changes takes its link and its place with it.
/// Named twice in one envelope, and in two cases: gone with the last mail all the same; and a name goes with the last mail
/// that had it.
#[tokio::test]
async fn people_go_with_their_mail() {
    use crate::store::record::Expiry;
    each(async |store| {
        let named = |index, address: &str, name: &str| RecipientRecord {
            name: name.to_owned(),
            ..recipient(index, address, DeliveryState::Accepted)
        };
        let twice = vec![named(1, "eve@reader.example", "Eve (on leave)"), named(2, "EVE@reader.example", "")];
        store.insert(mail(1, 10, "Old", "ann", twice)).await.unwrap();
        store.insert(mail(2, 20, "New", "ann", vec![named(1, "eve@reader.example", "")])).await.unwrap();
        let own = CorrespondentFilter { login: Some("ann".to_owned()), limit: 9, ..CorrespondentFilter::default() };
        let people = async || -> Vec<(u64, String)> {
            let people = store.correspondents(own.clone()).await.unwrap();
            people.into_iter().map(|one| (one.mails, one.name)).collect()
        };
        assert_eq!(people().await, [(3, "Eve (on leave)".to_owned())]);
        let until = |messages_before_ms| Expiry::of(messages_before_ms, 0);
        store.expire(until(15)).await.unwrap();
        assert_eq!(people().await, [(1, String::new())]);
        store.expire(until(25)).await.unwrap();
        assert_eq!(people().await, []);
    })
    .await;
}

#[tokio::test]
async fn links_and_places_are_counted_for_people() {
    each(async |store| {
        filled(&*store).await;
        let filter =
            DayCountFilter { first_day: -1, last_day: 20_000_000 / DAY_MS + 40_000, limit: 9, ..Default::default() };
        let places = async || -> Vec<(String, i64, i64)> {
            let places = store.places(filter.clone()).await.unwrap();
            places.into_iter().map(|p| (p.country, p.opens, p.clicks)).collect()
        };
        assert_eq!(places().await, [("DE".to_owned(), 2, 0), ("FR".to_owned(), 0, 1)]);
        let link = store.ranked_links(filter.clone()).await.unwrap().remove(0);
        assert_eq!((link.destination.as_str(), link.clicks, link.machine_clicks), ("https://a.example/", 1, 0));
        let mended = vec![Mended { sequence: 2, repeats: 0, verdict: Some((Verdict::Own, Rule::Own)) }];
        store.put_on_record(Arc::new(Recording { events: Vec::new(), mended })).await.unwrap();
        assert_eq!(places().await, [("DE".to_owned(), 2, 0)]);
        let link = store.ranked_links(filter.clone()).await.unwrap().remove(0);
        assert_eq!((link.clicks, link.machine_clicks), (0, 1));
        let count = store.link_counts(MessageId(1)).await.unwrap().remove(0);
        assert_eq!((count.link, count.copy_index, count.clicks, count.machine_clicks), (0, 1, 0, 1));
    })
    .await;
}
