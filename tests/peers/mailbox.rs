//! Mail into a running relay and each recipient's copy out of its inbox, for tests that look at copies from outside.

use crate::support::client::{Client, Submission};
use crate::support::relay::Running;

/// Sends one mail (CRLF line ends) to `to`; it must be taken.
pub(super) fn send(relay: &Running, to: &str, content: &[u8]) {
    let mut client = Client::connect(relay.smtp).unwrap();
    let told = client.submit(&Submission {
        id: to.to_owned(),
        sender: "a@example.com".to_owned(),
        recipients: vec![to.to_owned()],
        content: content.to_vec(),
    });
    assert_eq!(told.code(), 250, "{to}: {told:?}");
}

/// What `to` got, with the `Received` field cut off.
pub(super) fn copy_for(relay: &Running, to: &str) -> Vec<u8> {
    for entry in std::fs::read_dir(relay.folder().join("data/inbox")).unwrap() {
        let path = entry.unwrap().path();
        let envelope = path.extension().is_some_and(|e| e == "toml").then(|| std::fs::read_to_string(&path).unwrap());
        if envelope.is_some_and(|text| text.contains(to)) {
            let copy = std::fs::read(path.with_extension("eml")).unwrap();
            return crate::support::postfix::split_first_field(&copy).1.to_vec();
        }
    }
    panic!("no copy for {to}")
}
