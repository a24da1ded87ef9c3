//! Values in words people read: times, sizes, counts, states.

use jiff::Timestamp;

use crate::admin::ports::QueueStage;
pub(super) use crate::health::machine::size;
use crate::settings::{Mode, Role};
use crate::store::record::{Delivery, DeliveryState};

/// A time for people and for machines; always UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    /// `2026-11-23T20:48:49Z`
    pub(super) iso: String,
    /// `23 Nov 2026, 20:48`
    pub(super) friendly: String,
}

/// Unix milliseconds as a moment.
pub(super) fn moment(at_ms: i64) -> Moment {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    Moment { iso: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(), friendly: at.strftime("%-d %b %Y, %H:%M").to_string() }
}

/// The day of a moment, where no more is known of it.
pub(super) fn day(at_ms: i64) -> Moment {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    Moment { iso: at.strftime("%Y-%m-%d").to_string(), friendly: at.strftime("%-d %b %Y").to_string() }
}

/// A length of time: `40 s`, `12 min`, `3 h 20 min`, `2 days 4 h`. The past and the future read the same.
pub(super) fn span(ms: i64) -> String {
    let secs = ms.unsigned_abs() / 1_000;
    let (mins, hours, days) = (secs / 60, secs / 3_600, secs / 86_400);
    let with = |first: String, rest: u64, unit: &str| if rest == 0 { first } else { format!("{first} {rest} {unit}") };
    match secs {
        0..60 => format!("{secs} s"),
        60..3_600 => format!("{mins} min"),
        3_600..86_400 => with(format!("{hours} h"), mins % 60, "min"),
        _ => with(count(days, "day"), hours % 24, "h"),
    }
}

/// Where a queued recipient is, as a sender says it.
pub(super) fn stage(stage: QueueStage) -> &'static str {
    match stage {
        QueueStage::Waiting => "waiting",
        QueueStage::InFlight => "being sent",
        QueueStage::Unknown => "perhaps delivered",
        QueueStage::BounceOwed | QueueStage::Failed => "given up",
        QueueStage::Delivered => "delivered",
    }
}

/// The style of a stage's tag.
pub(super) fn stage_style(stage: QueueStage) -> &'static str {
    match stage {
        QueueStage::Delivered => "accepted",
        QueueStage::BounceOwed | QueueStage::Failed => "refused",
        QueueStage::InFlight => "going",
        QueueStage::Waiting | QueueStage::Unknown => "waiting",
    }
}

/// `1,204`: thousands apart. Below nothing is nothing.
pub(super) fn number(number: i64) -> String {
    let digits = number.max(0).to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 open`, `1,204 opens`.
pub(super) fn counted(count: i64, word: &str) -> String {
    format!("{} {word}{}", number(count), if count == 1 { "" } else { "s" })
}

/// A moment by how long ago it was, as long as that is shorter to say: `2 minutes ago`, then the date.
pub(super) fn ago(at_ms: i64, now_ms: i64) -> String {
    let secs = now_ms.saturating_sub(at_ms).max(0) / 1_000;
    match secs {
        0..10 => "just now".to_owned(),
        10..60 => format!("{secs} seconds ago"),
        60..3_600 => format!("{} ago", counted(secs / 60, "minute")),
        3_600..86_400 => format!("{} ago", counted(secs / 3_600, "hour")),
        _ => moment(at_ms).friendly,
    }
}

/// `1 open`, `2 opens`.
pub(super) fn count(number: u64, word: &str) -> String {
    format!("{number} {word}{}", if number == 1 { "" } else { "s" })
}

/// `once`, `twice`, `3 times`.
pub(super) fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

/// The address of a link for people: one line, and its host in the letters it stands for.
pub(super) fn link(url: &str) -> String {
    let line = one_line(url);
    let spelled = || {
        let (scheme, rest) = line.split_once("://")?;
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len()));
        let (user, host) = authority.split_at(authority.rfind('@').map_or(0, |at| at + 1));
        let (host, port) = host.split_at(host.find(':').unwrap_or(host.len()));
        let letters = domain(host);
        (letters != host).then(|| format!("{scheme}://{user}{letters}{port}{tail}"))
    };
    spelled().unwrap_or(line)
}

/// A domain in the letters it stands for, where it has such and they are its own.
pub(super) fn domain(name: &str) -> String {
    if !name.to_ascii_lowercase().contains("xn--") {
        return name.to_owned();
    }
    match idna::domain_to_unicode(name) {
        (letters, Ok(())) => letters,
        _ => name.to_owned(),
    }
}

/// A delivery state as a sender says it.
pub(super) fn delivery(delivery: &Delivery) -> &'static str {
    match delivery.state {
        _ if delivery.is_dropped() => "dropped",
        DeliveryState::Pending => "on its way",
        DeliveryState::Accepted => "delivered",
        DeliveryState::Refused => "refused",
        DeliveryState::Deferred => "will be tried again",
        DeliveryState::Unknown => "perhaps delivered",
    }
}

/// A mode as a setting is named.
pub(super) fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "Off",
        Mode::Aggregate => "Aggregate",
        Mode::Individual => "Individual",
    }
}

/// A role as people say it.
pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::ServerAdmin => "Server admin",
        Role::OrgAdmin => "Organisation admin",
        Role::Sender => "Sender",
    }
}

/// Text from outside on one line: control characters and the invisible ones that turn text around become visible.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_turning(c) { '\u{fffd}' } else { c }).collect()
}

/// Bidirectional overrides and isolates: `cod.exe` written to look like `exe.doc`.
fn is_turning(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// With a capital to begin with.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_words() {
        let at = moment(1_795_466_929_123);
        assert_eq!((at.iso.as_str(), at.friendly.as_str()), ("2026-11-23T20:48:49Z", "23 Nov 2026, 20:48"));
        let on = day(1_795_466_929_123);
        assert_eq!((on.iso.as_str(), on.friendly.as_str()), ("2026-11-23", "23 Nov 2026"));
        assert_eq!(moment(i64::MAX).iso, "1970-01-01T00:00:00Z", "nonsense is no crash");
        for (bytes, expected) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1_000, "1 KB"),
            (20_480, "21 KB"),
            (1_450_000, "1.4 MB"),
            (12_480_000_000, "12.4 GB"),
        ] {
            assert_eq!(size(bytes), expected);
        }
        for (secs, expected) in [
            (0, "0 s"),
            (-59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min"),
            (3_600, "1 h"),
            (12_000, "3 h 20 min"),
            (86_400, "1 day"),
            (187_200, "2 days 4 h"),
        ] {
            assert_eq!(span(secs * 1_000), expected);
        }
        for (count, expected) in [(-1, "0"), (0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(count), expected);
        }
        assert_eq!((counted(1, "open"), counted(1_204, "open")), ("1 open".to_owned(), "1,204 opens".to_owned()));
        let now = 1_795_466_929_123;
        for (secs, expected) in [
            (-5, "just now"),
            (9, "just now"),
            (59, "59 seconds ago"),
            (119, "1 minute ago"),
            (7_199, "1 hour ago"),
            (86_399, "23 hours ago"),
            (86_400, "22 Nov 2026, 20:48"),
        ] {
            assert_eq!(ago(now - secs * 1_000, now), expected);
        }
        assert_eq!(one_line("a\r\nb\u{202e}c\u{1b}[0m"), "a\u{fffd}\u{fffd}b\u{fffd}c\u{fffd}[0m");
    }
    #[test]
    fn a_links_host_is_in_letters() {
        for (url, shown) in [
            ("https://a.example/x", "https://a.example/x"),
            ("https://u@xn--mller-kva.example:8443/%C3%BC?xn--b", "https://u@müller.example:8443/%C3%BC?xn--b"),
            ("https://xn--mller-kva.example", "https://müller.example"),
            // no host has this
            ("https://xn--99999999999.example/", "https://xn--99999999999.example/"),
            ("https://a.example/xn--mller-kva", "https://a.example/xn--mller-kva"),
            ("mailto:a@xn--mller-kva.example", "mailto:a@xn--mller-kva.example"),
        ] {
            assert_eq!(link(url), shown);
        }
    }
}
