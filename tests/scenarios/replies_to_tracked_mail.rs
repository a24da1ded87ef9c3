//! A reply quotes mail that was tracked, before and after a new key: the old pixels go, the old links lead where they lead
//! now without us, in HTML and in plain text, and only then is the reply tracked. Another installation's links are links.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::first_light::submit;
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};

/// One HTML mail with three links; the copy that `to` got.
fn tracked(relay: &Running, name: &str) -> String {
    let mail = format!(
        "From: Ana <ana@example.com>\r\nTo: ben@x.test\r\nSubject: {name}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n<html><body><a href=\"https://shop.example/{name}/1?a=b&amp;c=d\">1</a>\r\n\
         <a href='https://shop.example/{name}/2'>2</a> <a href=https://shop.example/{name}/3>3</a></body></html>\r\n"
    );
    let to = format!("{name}@x.test");
    let answer = submit(relay.smtp, "ana@example.com", &[&to], &mail);
    assert!(answer.starts_with("250"), "{answer}");
    copy_for(relay, &to)
}

fn copy_for(relay: &Running, to: &str) -> String {
    let files = std::fs::read_dir(relay.folder().join("data/inbox")).unwrap().map(|entry| entry.unwrap().path());
    let mut envelopes = files.filter(|path| path.extension().is_some_and(|e| e == "toml"));
    let envelope = envelopes.find(|path| std::fs::read_to_string(path).unwrap().contains(to)).expect("a copy");
    String::from_utf8(std::fs::read(envelope.with_extension("eml")).unwrap()).unwrap()
}

/// Our URLs in a copy: links in order, and the pixel.
fn urls(relay: &Running, copy: &str) -> (Vec<String>, String) {
    let whole = |path: &String| format!("{}{path}", relay.public_url());
    let [pixel] = &pixels(copy.as_bytes(), &relay.public_url())[..] else { panic!("one pixel: {copy}") };
    (clicks(copy.as_bytes(), &relay.public_url()).iter().map(whole).collect(), whole(pixel))
}

fn message_id(relay: &Running, subject: &str) -> String {
    let list = relay.cli(&["message", "list"]);
    let line = list.lines().find(|line| line.split_whitespace().any(|word| word == subject)).expect("a line a mail");
    line.split_whitespace().next().unwrap().to_owned()
}

/// The reply as a mail client writes it: the quoted HTML in HTML, and its links in angle brackets in the text beside it.
fn reply(quoted: &[&(Vec<String>, String)], foreign: &str) -> String {
    let mut html = "<html><body><p>See <a href=\"https://answer.example/\">mine</a></p>\r\n<blockquote>".to_owned();
    let mut text = "See mine <https://answer.example/>\r\n".to_owned();
    for (links, pixel) in quoted {
        for link in links {
            html.push_str(&format!("<a moz-do-not-send=\"true\" href=\"{link}\">x</a>\r\n"));
            text.push_str(&format!("> x <{link}>\r\n> bare {link}, and on\r\n"));
        }
        html.push_str(&format!("<img src=\"{pixel}\" alt=\"\" width=\"1\" height=\"1\" border=\"0\">\r\n"));
    }
    html.push_str(&format!("<a href=\"{foreign}\">foreign</a></blockquote></body></html>"));
    text.push_str(&format!("> foreign <{foreign}>\r\n"));
    let encoded = STANDARD.encode(text).into_bytes();
    let lines = String::from_utf8(encoded.chunks(76).collect::<Vec<_>>().join(b"\r\n".as_slice())).unwrap();
    format!(
        "From: Ana <ana@example.com>\r\nTo: ben@x.test\r\nSubject: Re\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/alternative; boundary=\"a-long-boundary-of-its-own\"\r\n\r\n\
         --a-long-boundary-of-its-own\r\nContent-Type: text/plain; charset=utf-8; format=flowed\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{lines}\r\n--a-long-boundary-of-its-own\r\n\
         Content-Type: text/html; charset=utf-8\r\n\r\n{html}\r\n--a-long-boundary-of-its-own--\r\n"
    )
}

/// The plain text part of a copy, decoded.
fn text_of(copy: &str) -> String {
    let after = copy.split_once("Content-Transfer-Encoding: base64\r\n\r\n").unwrap().1;
    let body: String = after.split("\r\n--").next().unwrap().split_whitespace().collect();
    String::from_utf8(STANDARD.decode(body).unwrap()).unwrap()
}

#[test]
fn old_tracking_is_taken_out_across_a_change_of_keys() {
    let (relay, elsewhere) = (Running::start(Upstream::Inbox, ""), Running::start(Upstream::Inbox, ""));
    let foreign = urls(&elsewhere, &tracked(&elsewhere, "foreign")).0.remove(0);
    let before = urls(&relay, &tracked(&relay, "before"));
    relay.cli(&["keys", "rotate"]);
    let after = urls(&relay, &tracked(&relay, "after"));
    let id = message_id(&relay, "before");
    relay.cli(&["link", "edit", &id, "2", "https://shop.example/mended"]);
    relay.cli(&["link", "withdraw", &id, "3"]);
    let withdrawn = before.0[2].clone();

    let answer = submit(relay.smtp, "ana@example.com", &["reply@x.test"], &reply(&[&before, &after], &foreign));
    assert!(answer.starts_with("250"), "{answer}");
    let copy = copy_for(&relay, "reply@x.test");
    let text = text_of(&copy);

    // Nothing of the old is left but the link that was taken back: it has to go on saying so.
    for old in before.0.iter().chain(&after.0).chain([&before.1, &after.1]) {
        let stays = *old == withdrawn;
        assert_eq!((copy.contains(old.as_str()), text.contains(old.as_str())), (stays, stays), "{old}");
    }
    let (links, _) = urls(&relay, &copy);
    let leads: Vec<String> = links.iter().map(|url| where_to(&relay, url)).collect();
    let expected = [
        "https://answer.example/",
        "https://shop.example/before/1?a=b&c=d",
        "https://shop.example/mended",
        "410",
        "https://shop.example/after/1?a=b&c=d",
        "https://shop.example/after/2",
        "https://shop.example/after/3",
        foreign.as_str(),
    ];
    assert_eq!(leads, expected);
    // In the text they are as they were written, and not tracked: the organisation did not ask for that.
    for plain in ["<https://shop.example/before/1?a=b&c=d>", "bare https://shop.example/after/3, and", &foreign] {
        assert!(text.contains(plain), "{plain}: {text}");
    }
    assert_eq!(text.matches("https://shop.example/mended").count(), 2, "{text}");
}

/// Where a link leads; the status where it leads nowhere.
fn where_to(relay: &Running, url: &str) -> String {
    let answer = http(relay.tracking, "HEAD", url.strip_prefix(&relay.public_url()).unwrap(), &[]);
    answer.header("location").map_or_else(|| answer.status.to_string(), str::to_owned)
}
