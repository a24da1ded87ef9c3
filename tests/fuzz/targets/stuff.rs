//! A message on its way out after DATA: no bare CR or LF, one end, and our own receiver reads back the same message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::smtp::data::{BareNewlines, Progress, Receiver};
use waxseal::smtp::stuff::stuffed;

fuzz_target!(|octets: &[u8]| {
    let wire = wire(&[octets]);
    let (a, b) = octets.split_at(octets.len() / 2);
    assert_eq!(wire, self::wire(&[a, b"", b]), "in two");
    assert_eq!(wire, self::wire(&octets.chunks(1).collect::<Vec<_>>()), "octet by octet");
    for (at, octet) in wire.iter().enumerate() {
        assert!(*octet != b'\n' || (at > 0 && wire[at - 1] == b'\r'), "a bare LF");
        assert!(*octet != b'\r' || wire.get(at + 1) == Some(&b'\n'), "a bare CR");
    }
    let with_start = [b"\r\n".as_slice(), &wire].concat();
    assert_eq!(with_start.windows(5).filter(|five| *five == b"\r\n.\r\n").count(), 1);
    assert!(with_start.ends_with(b"\r\n.\r\n"));
    for policy in [BareNewlines::Reject, BareNewlines::Normalize] {
        let mut receiver = Receiver::new(usize::MAX, None, policy);
        assert_eq!(receiver.feed(&wire), Progress::End(wire.len()));
        let content = receiver.finish().expect("nothing in it to refuse");
        assert_eq!(content.bare_newlines, 0);
        assert_eq!(content.raw, normalised(octets));
    }
});

fn wire(chunks: &[&[u8]]) -> Vec<u8> {
    stuffed(chunks.iter().copied()).flatten().copied().collect()
}

/// Bare LF to CRLF, bare CR to a space, and an end to the last line.
fn normalised(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (at, octet) in octets.iter().enumerate() {
        match octet {
            b'\r' if octets.get(at + 1) == Some(&b'\n') => {}
            b'\r' => out.push(b' '),
            b'\n' => out.extend(b"\r\n"),
            other => out.push(*other),
        }
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend(b"\r\n");
    }
    out
}
