//! The built-in inbox, dialled like any upstream.

use waxseal::inbox::{Inbox, Options};

use super::client::Client;

fn options(messages_max: usize) -> Options {
    Options { hostname: "inbox.test".to_owned(), message_bytes_max: 1000, recipients_max: 10, messages_max }
}

async fn send(inbox: &Inbox, from: &str, to: &[&str], body: &[u8]) -> String {
    let mut client = Client::over(inbox.dial());
    assert!(client.answer(b"").await.starts_with("220 inbox.test"));
    assert!(client.answer(b"EHLO relay.test\r\n").await.contains("PIPELINING"));
    assert!(client.answer(format!("MAIL FROM:<{from}>\r\n").as_bytes()).await.starts_with("250"));
    for one in to {
        assert!(client.answer(format!("RCPT TO:<{one}>\r\n").as_bytes()).await.starts_with("250"));
    }
    assert!(client.answer(b"DATA\r\n").await.starts_with("354"));
    let reply = client.answer(&[body, b".\r\n"].concat()).await;
    assert!(client.answer(b"QUIT\r\n").await.starts_with("221"));
    reply
}

#[tokio::test]
async fn keeps_what_it_gets_and_the_newest_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path().join("inbox"), &options(2)).unwrap();
    for (n, body) in [b"one\r\n", b"two\r\n", b"tre\r\n"].into_iter().enumerate() {
        let reply = send(&inbox, &format!("a{n}@x.test"), &["b@ok.test", "\"c d\"@ok.test"], body).await;
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
    }
    assert!(send(&inbox, "", &["b@ok.test"], &b"x\r\n".repeat(700)).await.starts_with("552"));

    // a new start finds them
    let inbox = Inbox::open(folder.path().join("inbox"), &options(2)).unwrap();
    let list = inbox.list().unwrap();
    let senders: Vec<&str> = list.iter().map(|entry| entry.from.as_str()).collect();
    assert_eq!(senders, ["a2@x.test", "a1@x.test"]);
    assert_eq!(list[0].to, ["b@ok.test", "\"c d\"@ok.test"]);
    let stored = inbox.read(&list[0].id).unwrap().unwrap();
    assert_eq!(&stored.raw[..], b"tre\r\n");
    assert_eq!(stored.entry, list[0]);
    let eml = folder.path().join("inbox").join(format!("{}.eml", list[0].id));
    assert_eq!(std::fs::read(eml).unwrap(), b"tre\r\n", "plain files, as received");
}

#[tokio::test]
async fn a_disk_that_fails_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let inbox = Inbox::open(folder.path().join("inbox"), &options(2)).unwrap();
    std::fs::remove_dir(folder.path().join("inbox")).unwrap();
    assert!(send(&inbox, "a@x.test", &["b@ok.test"], b"x\r\n").await.starts_with("451 4.3.0"));
}
