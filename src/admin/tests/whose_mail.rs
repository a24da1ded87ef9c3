//! `admins_see_messages`: every page and answer in which an organisation's admin could meet somebody else's mail.

use super::fixture::world;
use crate::settings::access::Access;
use crate::store::{Change, SettingsStore as _};

/// What is in ann's mail, and in the trusted network's, and in none of boss's own.
const FOREIGN: [&str; 4] = ["cy@reader.example", "Your offer", "Report of the night", OFFER];
/// A link of ann's mail, and of eve's.
const OFFER: &str = "offer?id=42";

/// Address, and whether it shows something of it to an admin who may see.
const PLACES: &[(&str, bool)] = &[
    ("/", true),
    ("/?subject=report", true),
    ("/?recipient=reader", true),
    ("/messages.csv", true),
    ("/messages/00000000000000a1", true),
    ("/messages/00000000000000ff", true),
    ("/people", true),
    ("/people/one?address=bob@reader.example", true),
    ("/activity", true),
    ("/figures", true),
    ("/queue", false),
    ("/queue/00000000000000a1", false),
    ("/queue/00000000000000a1/drop", false),
    ("/inbox", false),
    ("/audit", false),
    ("/notices", false),
    ("/users", false),
    ("/orgs/acme/privacy", false),
    ("/api/v1/messages", true),
    ("/api/v1/messages?subject=offer", true),
    ("/api/v1/messages?recipient=reader", true),
    ("/api/v1/messages/00000000000000a1", true),
    ("/api/v1/messages/00000000000000a1/links", true),
    ("/api/v1/events?after=0", true),
    ("/api/v1/events?after=0&message=00000000000000a1", true),
    ("/api/v1/events?after=0&login=ann", true),
    ("/api/v1/readers", true),
    ("/api/v1/readers?login=ann", true),
    ("/api/v1/readers/bob%40reader.example", true),
    ("/api/v1/figures", false),
    ("/api/v1/figures/senders", false),
    ("/api/v1/figures/links", true),
    ("/api/v1/figures/places", false),
    ("/setup", false),
    ("/setup/test-mail/00000000000000a1", false),
    ("/health", false),
    ("/tracking", false),
    ("/tracking?login=ann", true),
    ("/api/v1/users/ann/tracking", true),
    ("/api/v1/health", false),
    ("/api/v1/queue", false),
    ("/api/v1/queue/00000000000000a1", false),
    ("/api/v1/inbox", false),
    ("/api/v1/audit", false),
    ("/api/v1/webhooks", false),
];

#[tokio::test]
async fn an_admin_sees_counts_or_everything_of_their_own_organisation() {
    let world = world().await;
    // whom she excludes is somebody she writes to
    let mut ann = world.settings.snapshot().users["ann"].clone();
    ann.own.excluded_recipients = vec!["cy@reader.example".parse().unwrap()];
    world.settings.change(vec![Change::PutUser(ann)]).await.unwrap();
    let mut wrong = Vec::new();
    for sees in [false, true] {
        let access = Access { admins_see_messages: sees, ..Access::default() };
        let names = ["acme", "other"].map(|name| name.parse().unwrap());
        world.settings.change(names.map(|name| Change::PutAccess(name, access)).to_vec()).await.unwrap();
        for who in ["boss", "chief", "eve"] {
            let browser = world.logged_in(who);
            for (path, shows) in PLACES {
                let answer = browser.get(path).await;
                let found =
                    FOREIGN.iter().find(|word| answer.text.contains(*word) && (who == "boss" || **word != OFFER));
                let may = sees && who == "boss";
                if found.is_some() && !may {
                    wrong.push(format!("{path} as {who}, {sees}: finds {found:?}"));
                }
                if found.is_none() && may && *shows {
                    wrong.push(format!("{path} as {who}, {sees}: {} and nothing of it", answer.status));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// What an admin who sees may do with it is what its sender may: by id, and in their own organisation alone.
#[tokio::test]
async fn what_may_be_seen_may_be_mended() {
    let world = world().await;
    let rows: &[(&str, &[(&str, &str)])] = &[
        ("/messages/00000000000000a1/links/0", &[("do", "withdraw")]),
        ("/messages/00000000000000a1/events", &[("own", "1")]),
        ("/queue/00000000000000a1/drop", &[]),
    ];
    for (path, form) in rows {
        for (sees, expected) in [(false, 403), (true, 303)] {
            let access = Access { admins_see_messages: sees, ..Access::default() };
            let names = ["acme", "other"].map(|name| name.parse().unwrap());
            world.settings.change(names.map(|name| Change::PutAccess(name, access)).to_vec()).await.unwrap();
            for (who, expected) in [("chief", 404), ("boss", expected)] {
                let got = world.logged_in(who).post(path, form).await.status.as_u16();
                assert_eq!(got, expected, "{path} as {who}, {sees}");
            }
        }
    }
}
