//! What a list of messages is searched for, as it stands in an address: the same for the page, the CSV and the API.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

use super::Refusal;
use crate::store::record::{DeliveryState, ReadersDid, Wanted};

/// Bytes of one text; a longer one is refused.
const TEXT_BYTES_MAX: usize = 200;

/// The fields as typed; empty is not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Search {
    pub(super) recipient: String,
    pub(super) subject: String,
    pub(super) sender: String,
    /// `2026-11-24`, UTC.
    pub(super) from: String,
    /// Itself included.
    pub(super) until: String,
    /// A [`DeliveryState`].
    pub(super) delivery: String,
    /// [`ReadersDid`].
    pub(super) readers: String,
}

impl Search {
    /// The fields with their names, as in an address.
    pub(super) fn fields(&self) -> [(&'static str, &str); 7] {
        [
            ("recipient", &self.recipient),
            ("subject", &self.subject),
            ("sender", &self.sender),
            ("from", &self.from),
            ("until", &self.until),
            ("delivery", &self.delivery),
            ("readers", &self.readers),
        ]
    }

    /// Nothing is asked.
    pub(super) fn is_empty(&self) -> bool {
        self.fields().iter().all(|(_, value)| value.trim().is_empty())
    }

    /// What the history is asked for.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for what cannot be read.
    pub(super) fn wanted(&self) -> Result<Wanted, Refusal> {
        let delivery = |text: &str| DeliveryState::parse(text);
        let states = "pending, accepted, refused, deferred, unknown";
        Ok(Wanted {
            recipient: text("recipient", &self.recipient)?,
            subject: text("subject", &self.subject)?,
            sender: text("sender", &self.sender)?,
            from_ms: day("from", &self.from)?.map(|at| at.0),
            until_ms: day("until", &self.until)?.map(|at| at.1),
            delivery: word("delivery", &self.delivery, delivery, states)?,
            readers: word("readers", &self.readers, ReadersDid::parse, "opened, not-opened, clicked, not-clicked")?,
        })
    }
}

fn text(field: &'static str, typed: &str) -> Result<Option<String>, Refusal> {
    let typed = typed.trim();
    if typed.len() > TEXT_BYTES_MAX {
        return Err(Refusal::invalid(field, format!("at most {TEXT_BYTES_MAX} bytes are searched for")));
    }
    Ok(Some(typed.to_owned()).filter(|text| !text.is_empty()))
}

fn word<T>(
    field: &'static str,
    typed: &str,
    parse: impl Fn(&str) -> Option<T>,
    good: &str,
) -> Result<Option<T>, Refusal> {
    match typed.trim() {
        "" => Ok(None),
        typed => {
            let no = || Refusal::invalid(field, format!("{typed:?} is none of {good}"));
            parse(typed).map(Some).ok_or_else(no)
        }
    }
}

/// Where a day begins and ends, in Unix milliseconds.
fn day(field: &'static str, typed: &str) -> Result<Option<(i64, i64)>, Refusal> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Ok(None);
    }
    let begins = |date: Date| TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok().map(|at| at.as_millisecond());
    let read = typed.parse::<Date>().ok().and_then(|date| Some((begins(date)?, begins(date.tomorrow().ok()?)?)));
    let no = || Refusal::invalid(field, format!("{typed:?} is no day; write it as 2026-11-24"));
    read.map(Some).ok_or_else(no)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_or_named() {
        let search = Search {
            subject: " offer ".to_owned(),
            from: "2026-11-23".to_owned(),
            until: "2026-11-23".to_owned(),
            delivery: "refused".to_owned(),
            readers: "not-clicked".to_owned(),
            ..Search::default()
        };
        let wanted = search.wanted().unwrap();
        assert_eq!(wanted.subject.as_deref(), Some("offer"));
        assert_eq!((wanted.from_ms, wanted.until_ms), (Some(1_795_392_000_000), Some(1_795_478_400_000)));
        assert_eq!((wanted.delivery, wanted.readers), (Some(DeliveryState::Refused), Some(ReadersDid::NotClicked)));
        assert!(!search.is_empty() && Search { sender: "  ".to_owned(), ..Search::default() }.is_empty());
        for (bad, field) in [
            (Search { from: "23.11.2026".to_owned(), ..Search::default() }, "from"),
            (Search { until: "9999-12-31".to_owned(), ..Search::default() }, "until"),
            (Search { delivery: "lost".to_owned(), ..Search::default() }, "delivery"),
            (Search { readers: "yawned".to_owned(), ..Search::default() }, "readers"),
            (Search { recipient: "x".repeat(201), ..Search::default() }, "recipient"),
        ] {
            let error = bad.wanted().unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
