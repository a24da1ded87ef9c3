//! The built-in inbox is an upstream like any other, reached without leaving the process.

use waxseal::deliver::{LocalDial, Outbound, Security, Upstream};
use waxseal::inbox::{Inbox, Options};

use super::{CONTENT, ample, deliver, envelope, mail, patient, said};

#[tokio::test]
async fn mail_goes_to_the_inbox_over_one_kept_connection() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        hostname: "inbox.test".to_owned(),
        message_bytes_max: 1_000_000,
        recipients_max: 100,
        messages_max: 10,
    };
    let inbox = Inbox::open(folder.path(), &options).unwrap();
    let dial = {
        let inbox = inbox.clone();
        LocalDial::new("inbox", move || inbox.dial())
    };
    let upstream = Upstream::new(dial, Security::None, None, patient());
    for _ in 0..3 {
        let fates = deliver(&upstream, mail(&["b@y.test", "c@y.test"])).await;
        assert!(fates.iter().all(|fate| fate.starts_with("accepted: 250 ")), "{fates:?}");
    }
    let large = Outbound::new(envelope(&["b@y.test"]), bytes::Bytes::from(b"x\r\n".repeat(400_000)).into());
    assert!(upstream.deliver(large, ample()).await.is_err(), "larger than the inbox takes, and said so up front");
    let mut odd = mail(&["b@y.test"]);
    odd.body = waxseal::deliver::outbound::BodySource::Ready(bytes::Bytes::from_static(b"A: b\r\n\r\n\n.\n\rx").into());
    let fates = upstream.deliver(odd, ample()).await.unwrap();
    assert!(said(&fates)[0].starts_with("accepted"), "the writer mends what a strict reader would refuse: {fates:?}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "eml") {
            found.push(std::fs::read(path).unwrap());
        }
    }
    found.sort();
    // The inbox adds nothing and takes nothing away.
    assert_eq!(found.len(), 4);
    assert_eq!(found[0], b"A: b\r\n\r\n\r\n.\r\n x\r\n");
    assert_eq!(found[1..], [CONTENT, CONTENT, CONTENT]);
    upstream.close().await;
}
