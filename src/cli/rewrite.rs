//! `waxseal rewrite`: the real rewriter on one message, offline. Nothing is stored; the keys are for show.

use std::io::{self, Read, Write};
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;

use super::{OnOff, RewriteArgs};
use crate::policy::LinkRules;
use crate::policy::sensitive::Switched;
use crate::rewrite::offline;
use crate::settings::{Mode, Tracking};
use crate::token::{Keyring, MessageId, RootKey, Secret, Site, SiteId, TokenId, encoded_len};

/// Where links of the offline rewriter would lead.
const SITE_URL: &str = "https://track.example";
/// Octets of one message from standard input: as much as the largest `message_bytes_max`.
const INPUT_BYTES_MAX: u64 = 1 << 30;

/// Rewrites standard input to standard output.
///
/// # Errors
/// Standard input or output fails.
pub(super) fn rewrite(args: &RewriteArgs) -> anyhow::Result<ExitCode> {
    let mut raw = Vec::new();
    io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut raw).context("cannot read the message")?;
    let raw = Bytes::from(raw);
    let keyring = demo_keyring()?;
    let site = keyring.default_site().context("no demo site")?.id;
    let sealer = keyring.sealer(site, 0).context("no demo key")?;
    let id = |link| TokenId { message: MessageId(0), recipient: 0, link };
    let mint = |slot: &crate::rewrite::Slot| sealer.seal(slot.kind, id(slot.link), slot.payload.as_bytes());
    let rewritten = offline(&raw, tracking(args), &rules(args), SITE_URL, &encoded_len, mint);
    let mut out = io::stdout().lock();
    let written = if args.plan {
        rewritten.outcome.lines().iter().try_for_each(|line| writeln!(out, "{line}"))
    } else if args.diff {
        diff(&mut out, &raw, &rewritten.body.to_bytes())
    } else {
        rewritten.body.chunks.iter().try_for_each(|chunk| out.write_all(chunk))
    };
    written?;
    Ok(ExitCode::SUCCESS)
}

fn tracking(args: &RewriteArgs) -> Tracking {
    let mode = |on| if on == OnOff::On { Mode::Individual } else { Mode::Off };
    Tracking { opens: mode(args.opens), links: mode(args.links), text_links: args.text_links == OnOff::On }
}

/// What an organisation with these settings would leave alone.
fn rules(args: &RewriteArgs) -> LinkRules {
    LinkRules {
        excluded_hosts: args.excluded_hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
        patterns: args.leave_links.clone(),
        switched: Switched::without(&args.sensitive_off),
        ..LinkRules::default()
    }
}

/// A key that everybody knows: its links open nowhere.
fn demo_keyring() -> anyhow::Result<Keyring> {
    let key = RootKey { id: 0, secret: Secret([0; 32]), created: jiff::Timestamp::UNIX_EPOCH, revoked: None };
    let site = Site { id: SiteId([0; 4]), url: SITE_URL.to_owned(), former_urls: Vec::new(), default: true };
    Ok(Keyring::new(vec![key], vec![site])?)
}

/// Lines that differ, `-` before and `+` after, in blocks: between two blocks the lines are the same.
fn diff(out: &mut impl Write, before: &[u8], after: &[u8]) -> io::Result<()> {
    let (before, after): (Vec<&[u8]>, Vec<&[u8]>) = (lines(before), lines(after));
    let (mut b, mut a) = (0, 0);
    while b < before.len() || a < after.len() {
        if before.get(b).is_some() && before.get(b) == after.get(a) {
            (b, a) = (b + 1, a + 1);
            continue;
        }
        let (b_end, a_end) = next_match(&before, &after, b, a);
        writeln!(out, "@@ line {} @@", b + 1)?;
        for (sign, lines) in [(b"-", before.get(b..b_end)), (b"+", after.get(a..a_end))] {
            for line in lines.unwrap_or_default() {
                out.write_all(sign)?;
                out.write_all(line)?;
                if !line.ends_with(b"\n") {
                    out.write_all(b"\n")?;
                }
            }
        }
        (b, a) = (b_end, a_end);
    }
    Ok(())
}

/// Where the two texts come together again: the nearest pair of equal lines.
fn next_match(before: &[&[u8]], after: &[&[u8]], b: usize, a: usize) -> (usize, usize) {
    const REACH: usize = 400;
    for distance in 1..REACH {
        for take in 0..=distance {
            let (i, j) = (b + take, a + distance - take);
            if before.get(i).is_some() && before.get(i) == after.get(j) {
                return (i, j);
            }
        }
    }
    (before.len(), after.len())
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|octet| *octet == b'\n').collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_what_changed_and_nothing_else() {
        let mut out = Vec::new();
        diff(&mut out, b"a\nb\nc\nd\n", b"a\nB\nB2\nc\nd\n").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "@@ line 2 @@\n-b\n+B\n+B2\n");
        let mut none = Vec::new();
        diff(&mut none, b"same", b"same").unwrap();
        assert_eq!(none, b"");
    }
}
