//! The walk over a message's parts, and what is read of headers: ranges lie where they must, whatever the octets are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::message::tree::{self, Limits, Tree};
use waxseal::message::{downgrade, guarded, header, splice, trace};
use waxseal::policy::plan::HeaderChoice;

fuzz_target!(|raw: &[u8]| {
    headers(raw);
    let limits = Limits { header_bytes_max: 2_000, header_lines_max: 40, parts_max: 20, nesting_max: 5 };
    for limits in [Limits::default(), limits] {
        let Ok(tree) = tree::read(raw, &limits) else { continue };
        assert!(!tree.parts.is_empty() && tree.parts.len() <= limits.parts_max);
        for number in 0..tree.parts.len() {
            part(raw, &tree, number, &limits);
            guarded::part(&tree, number);
            guarded::seal_of_part(&tree, number);
        }
        guarded::message(raw, &tree);
    }
    if let Ok(out) = downgrade::to_seven_bit(raw, &Limits::default()) {
        assert!(out.is_ascii());
        assert!(!raw.is_ascii() || out == raw);
        let (before, after) = (tree::read(raw, &Limits::default()), tree::read(&out, &Limits::default()));
        if let (Ok(before), Ok(after)) = (before, after) {
            assert_eq!(before.parts.len(), after.parts.len());
        }
    }
});

/// A part lies in its parent after its elder siblings, header before body.
fn part(raw: &[u8], tree: &Tree, number: usize, limits: &Limits) {
    let part = &tree.parts[number];
    assert!(part.header.start <= part.header.end && part.header.end <= part.body.start);
    assert!(part.body.start <= part.body.end && part.body.end <= raw.len());
    let mut at = part.body.start;
    for child in &part.children {
        let inner = &tree.parts[*child];
        assert!(*child > number && inner.parent == Some(number));
        assert!(inner.header.start >= at && inner.body.end <= part.body.end);
        at = inner.body.end;
    }
    let above = std::iter::successors(Some(number), |at| tree.parts[*at].parent).count();
    assert!(above <= limits.nesting_max + 1);
}

/// Fields follow one another without a gap; what is removed is whole fields, in order.
fn headers(raw: &[u8]) {
    let mut at = 0;
    for field in header::fields(raw, 0) {
        assert_eq!(field.whole.start, at);
        assert!(field.whole.end > at && field.whole.end <= raw.len());
        assert!(field.name.end <= field.whole.end && field.value.end <= field.whole.end);
        at = field.whole.end;
    }
    assert!(header::body_start(raw, 0) >= at);
    let mut removed = trace::removed_fields(raw);
    let before = removed.clone();
    assert!(splice::order(&mut removed, raw.len(), |range| range).is_ok());
    assert_eq!(removed, before);
    trace::received_count(raw);
    HeaderChoice::read(raw);
    let people = header::for_people(raw);
    assert!(people.subject.len() <= 500);
}
