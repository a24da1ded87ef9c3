//! What an upstream says: the same replies however the octets are cut, bounded, and nothing in them that could break a
//! line later.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::smtp::Reply;
use waxseal::smtp::reply_reader::{Malformed, ReplyLimits, ReplyReader, TEXT_BYTES_MAX};

fuzz_target!(|octets: &[u8]| {
    for limits in [ReplyLimits::default(), ReplyLimits { line_bytes_max: 40, lines_max: 3, held_bytes_max: 5_000 }] {
        if octets.len() > limits.held_bytes_max {
            continue;
        }
        let whole = read([octets].into_iter(), limits);
        assert_eq!(read(octets.chunks(1), limits), whole);
        let cut = octets.first().map_or(1, |octet| usize::from(*octet) + 1);
        assert_eq!(read(octets.chunks(cut), limits), whole);
        for reply in &whole.0 {
            check(reply, &limits);
        }
    }
});

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>, limits: ReplyLimits) -> (Vec<Reply>, Result<bool, Malformed>) {
    let mut reader = ReplyReader::new(limits);
    let mut replies = Vec::new();
    for chunk in chunks {
        if let Err(why) = reader.feed(chunk) {
            return (replies, Err(why));
        }
        loop {
            match reader.next_reply() {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(why) => return (replies, Err(why)),
            }
        }
    }
    (replies, Ok(reader.has_unread()))
}

fn check(reply: &Reply, limits: &ReplyLimits) {
    assert!((200..600).contains(&reply.code));
    assert!((1..=limits.lines_max).contains(&reply.lines.len()));
    assert!(reply.lines.iter().all(|line| line.len() <= TEXT_BYTES_MAX && !line.chars().any(char::is_control)));
    // What we pass on to our own client is one reply too, and reads as the same one.
    let wire = Reply::passed_on(reply).to_bytes();
    assert!(wire.len() <= 10 * 512 && wire.split(|octet| *octet == b'\n').all(|line| line.len() < 512));
    let (again, end) = read([wire.as_slice()].into_iter(), ReplyLimits::default());
    assert_eq!((again.len(), end), (1, Ok(false)));
    assert_eq!(again[0].code, reply.code);
}
