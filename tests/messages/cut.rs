//! Golden messages with their ends cut off, octets flipped, stretches lost or doubled: the promises hold for all of them.

use std::path::Path;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::promises::keep;

fn golden() -> Vec<(String, Bytes)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let mut cases: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.is_dir());
    cases.sort();
    let read = |case: &std::path::PathBuf| {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        (name, Bytes::from(std::fs::read(case.join("in.eml")).unwrap()))
    };
    cases.iter().map(read).collect()
}

#[test]
fn golden_messages_keep_the_promises() {
    let messages = golden();
    assert!(messages.len() >= 60);
    messages.iter().for_each(|(_, raw)| keep(raw));
}

/// A line that is short enough only where the pixel breaks it, or only where a link does: copies have the one without the
/// other.
#[test]
fn long_lines_stay_short_enough_in_every_copy() {
    let links = "<a href=\"https://b\u{fc}cher.example/\">y</a> ".repeat(4);
    for (before, after) in [(10, 700), (300, 400), (600, 10), (640, 60), (10, 760), (720, 0)] {
        let mail = format!(
            "Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<body>{}{links}</body>{}\r\n",
            "x".repeat(before),
            "y".repeat(after)
        );
        keep(&Bytes::from(mail));
    }
}

/// What happens to a message on a bad day.
#[derive(Debug, Clone)]
enum Harm {
    CutEnd(prop::sample::Index),
    CutStart(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Lose(prop::sample::Index, usize),
    Double(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static [u8]),
}

fn harm() -> impl Strategy<Value = Harm> {
    let at = any::<prop::sample::Index>;
    let odd: &[&[u8]] =
        &[b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"=", b"\"", b"'", b"<", b">", b"&", b" ", b"</body>", b"<!--", b"="];
    prop_oneof![
        at().prop_map(Harm::CutEnd),
        at().prop_map(Harm::CutStart),
        (at(), 1u8..=255).prop_map(|(at, bits)| Harm::Flip(at, bits)),
        (at(), 1usize..40).prop_map(|(at, len)| Harm::Lose(at, len)),
        (at(), 1usize..200).prop_map(|(at, len)| Harm::Double(at, len)),
        (at(), prop::sample::select(odd.to_vec())).prop_map(|(at, text)| Harm::Insert(at, text)),
    ]
}

fn harmed(raw: &[u8], harms: &[Harm]) -> Bytes {
    let mut out = raw.to_vec();
    for harm in harms {
        let len = out.len();
        let place = |at: &prop::sample::Index| at.index(len + 1);
        match harm {
            Harm::CutEnd(at) => out.truncate(place(at)),
            Harm::CutStart(at) => drop(out.drain(..place(at))),
            Harm::Flip(at, bits) => out.iter_mut().skip(place(at)).take(1).for_each(|octet| *octet ^= bits),
            Harm::Lose(at, bytes) => drop(out.drain(place(at)..(place(at) + bytes).min(len))),
            Harm::Double(at, bytes) => {
                let again = out[place(at)..(place(at) + bytes).min(len)].to_vec();
                out.splice(place(at)..place(at), again);
            }
            Harm::Insert(at, text) => drop(out.splice(place(at)..place(at), text.iter().copied())),
        }
    }
    out.into()
}

/// The same harms in every run: 24 to each message, one to three at once.
#[test]
fn harmed_messages_keep_the_promises() {
    let config = ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() };
    for (name, raw) in golden() {
        let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let harms = proptest::collection::vec(harm(), 1..4);
        let outcome = runner.run(&harms, |harms| {
            keep(&harmed(&raw, &harms));
            Ok(())
        });
        assert!(outcome.is_ok(), "{name}: {}", outcome.unwrap_err());
    }
}
