//! Real mail through the rewriter: with tracking off nothing changes, with tracking on nothing but what was meant to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use waxseal::policy::LinkRules;
use waxseal::rewrite::{self, Limits, LinkDecision, Options, PixelOutcome, Prepared, Slot, Variant, nothing_is_ours};
use waxseal::settings::Quotes;
use waxseal::token::Kind;

pub(super) const SITE: &str = "https://track.example";

/// As long as a real token: 28 octets of id and tag, and the payload.
pub(super) fn chars(payload_bytes: usize) -> usize {
    let octets = 28 + payload_bytes;
    octets / 3 * 4 + [0, 2, 3][octets % 3]
}

/// A token that can be read back without a key.
fn mint(slot: &Slot) -> String {
    URL_SAFE_NO_PAD.encode([&[0xfb; 26], slot.link.to_be_bytes().as_slice(), slot.payload.as_bytes()].concat())
}

fn prepare(raw: &Bytes, wanted: Variant) -> Prepared {
    let options = Options {
        wanted,
        links: &LinkRules::default(),
        quotes: Quotes::Unwrap,
        footer: None,
        site_url: SITE,
        token_chars: &chars,
        open: &nothing_is_ours,
        received: b"",
        remove_fields: false,
        limits: Limits::default(),
    };
    rewrite::prepare(raw, &options)
}

const ALL: Variant = Variant { opens: true, links: true, text_links: true };

/// Every message of the corpus, and every HTML file as the body of a message.
pub(super) fn corpus() -> Vec<(String, Bytes)> {
    let folder = PathBuf::from(std::env::var_os("WAXSEAL_CORPUS").expect("WAXSEAL_CORPUS names the corpus folder"));
    let mut found = Vec::new();
    for (kind, header) in [("messages", ""), ("html", "Content-Type: text/html; charset=utf-8\r\n\r\n")] {
        let mut paths: Vec<PathBuf> =
            std::fs::read_dir(folder.join(kind)).expect("the corpus").map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            let content = std::fs::read(&path).unwrap();
            let name = format!("{kind}/{}", path.file_name().unwrap().to_string_lossy());
            found.push((name, Bytes::from([header.as_bytes(), &content].concat())));
        }
    }
    assert!(found.len() > 3_000, "the corpus is not all there: {} files", found.len());
    found
}

#[test]
#[ignore = "needs the shared corpus: set WAXSEAL_CORPUS"]
fn off_is_the_identity() {
    for (name, raw) in corpus() {
        let off = prepare(&raw, Variant::NONE);
        assert!(off.identity().to_bytes() == raw, "{name}");
        let on = prepare(&raw, ALL);
        assert!(on.identity().to_bytes() == raw, "{name}");
        assert!(on.layout(Variant::NONE).render(mint).unwrap().to_bytes() == raw, "{name}: a copy with nothing on");
    }
}

#[test]
#[ignore = "needs the shared corpus: set WAXSEAL_CORPUS"]
fn reasons_are_counted() {
    let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut slowest = (Duration::ZERO, String::new());
    for (name, raw) in corpus() {
        let started = Instant::now();
        let prepared = prepare(&raw, ALL);
        let copy = prepared.layout(ALL).render(mint).unwrap();
        let took = started.elapsed();
        if took > slowest.0 {
            slowest = (took, format!("{name}, {} bytes", raw.len()));
        }
        assert!(copy.len_bytes() >= raw.len() / 2, "{name}");
        let outcome = prepared.outcome();
        let mut count = |what: String| {
            let entry = counts.entry(what.clone()).or_insert((0, name.clone()));
            entry.0 += 1;
            if std::env::var("WAXSEAL_CORPUS_SHOW").is_ok_and(|word| what.contains(&word)) {
                println!("{what}: {name}");
            }
        };
        match outcome.untouched {
            Some(why) => count(format!("message: {why}")),
            None => count("message: rewritten".to_owned()),
        }
        for part in &outcome.parts {
            match &part.left {
                Some(why) => count(format!("part {}: {why}", part.kind)),
                None => count(format!("part {}: read", part.kind)),
            }
        }
        for link in &outcome.links {
            count(match &link.decision {
                LinkDecision::Tracked(_) => "link: tracked".to_owned(),
                other => format!("link: {other}"),
            });
        }
        count(match &outcome.pixel {
            PixelOutcome::Placed { place, .. } => format!("pixel: {place:?}"),
            PixelOutcome::NoPlace { .. } => "pixel: no place".to_owned(),
            PixelOutcome::PartLeft { .. } => "pixel: part left".to_owned(),
            other => format!("pixel: {other:?}"),
        });
        assert!(prepared.slots().iter().filter(|slot| slot.kind == Kind::Pixel).count() <= 1, "{name}");
    }
    println!("slowest: {:?} {}", slowest.0, slowest.1);
    // What stays must stay the exception: less than this, and mail that could be tracked is left alone.
    let at_least = |what: &str, least: usize| {
        let found = counts.get(what).map_or(0, |(count, _)| *count);
        assert!(found >= least, "{what}: only {found}, it was {least} once");
    };
    at_least("link: tracked", 11_200);
    at_least("message: rewritten", 1_530);
    at_least("part text/html: read", 1_215);
    for (what, (count, example)) in counts {
        println!("{count:7}  {what}   ({example})");
    }
}

#[test]
#[ignore = "needs the shared corpus (set WAXSEAL_CORPUS), and html5lib (set WAXSEAL_PEERS, or have it in python3)"]
fn a_second_pair_of_eyes_agrees() {
    let mut folder = tempfile::tempdir().unwrap();
    folder.disable_cleanup(std::env::var_os("WAXSEAL_CORPUS_KEEP").is_some());
    for (number, (name, raw)) in corpus().into_iter().enumerate() {
        let prepared = prepare(&raw, ALL);
        let copy = prepared.layout(ALL).render(mint).unwrap().to_bytes();
        let stem = format!("{number:05}-{}", name.replace('/', "-"));
        std::fs::write(folder.path().join(format!("{stem}.in")), &raw).unwrap();
        std::fs::write(folder.path().join(format!("{stem}.out")), &copy).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/second_eyes.py");
    let peers = std::env::var_os("WAXSEAL_PEERS").map(|peers| std::path::Path::new(&peers).join("venv/bin/python"));
    let python = peers.unwrap_or_else(|| "python3".into());
    let seen = std::process::Command::new(python).arg(script).arg(folder.path()).output().expect("python3");
    println!(
        "{}\n{}{}",
        folder.path().display(),
        String::from_utf8_lossy(&seen.stdout),
        String::from_utf8_lossy(&seen.stderr)
    );
    assert!(seen.status.success());
}
