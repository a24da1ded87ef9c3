//! One mail of the inbox: its id, which is its file name, and its envelope as a small TOML file.
//!
//! **Invariant:** an [`EntryId`] is digits, `T`, `Z`, `-` and hex, so it can be no path. Ids sort by time.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::message::Envelope;
use crate::smtp::ReversePath;

/// `20260729T120000.123456Z-0123456789abcdef`
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(String);

/// The text is no such id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAnId;

/// A mail in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: EntryId,
    /// When it came, RFC 3339.
    pub received_at: String,
    /// `MAIL FROM` without brackets; empty for `<>`. For people: lossy where it was not UTF-8.
    pub from: String,
    /// `RCPT TO`, likewise.
    pub to: Vec<String>,
    /// Octets of the mail.
    pub size_bytes: u64,
}

/// A mail with its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Envelope and time.
    pub entry: Entry,
    /// Exactly what was received.
    pub raw: Bytes,
}

/// The side file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Side {
    received_at: String,
    from: String,
    to: Vec<String>,
    size_bytes: u64,
}

impl EntryId {
    /// As in the file name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands at each place of an id: `d` a digit, `h` a hex digit, anything else itself.
const SHAPE: &[u8] = b"ddddddddTdddddd.ddddddZ-hhhhhhhhhhhhhhhh";

impl FromStr for EntryId {
    type Err = NotAnId;
    fn from_str(text: &str) -> Result<EntryId, NotAnId> {
        let fits = |(shape, octet): (&u8, u8)| match shape {
            b'd' => octet.is_ascii_digit(),
            b'h' => matches!(octet, b'0'..=b'9' | b'a'..=b'f'),
            _ => octet == *shape,
        };
        let ok = text.len() == SHAPE.len() && SHAPE.iter().zip(text.bytes()).all(fits);
        if ok { Ok(EntryId(text.to_owned())) } else { Err(NotAnId) }
    }
}

impl Entry {
    pub(super) fn new(at: jiff::Timestamp, random: u64, size_bytes: usize, envelope: &Envelope) -> Entry {
        let from = match &envelope.reverse_path {
            ReversePath::Null => String::new(),
            ReversePath::Mailbox(mailbox) => mailbox.display(),
        };
        Entry {
            id: EntryId(format!("{}-{random:016x}", at.strftime("%Y%m%dT%H%M%S.%6fZ"))),
            received_at: at.to_string(),
            from,
            to: envelope.recipients.iter().map(|recipient| recipient.path.0.display()).collect(),
            size_bytes: u64::try_from(size_bytes).unwrap_or(u64::MAX),
        }
    }

    pub(super) fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let Entry { received_at, from, to, size_bytes, .. } = self.clone();
        toml::to_string(&Side { received_at, from, to, size_bytes })
    }

    pub(super) fn from_toml(id: EntryId, text: &str) -> Result<Entry, toml::de::Error> {
        let Side { received_at, from, to, size_bytes } = toml::from_str(text)?;
        Ok(Entry { id, received_at, from, to, size_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_never_paths() {
        let good = "20260729T120000.123456Z-0123456789abcdef";
        assert_eq!(good.parse::<EntryId>().map(|id| id.to_string()), Ok(good.to_owned()));
        let bad = [
            "",
            "..",
            "../../etc/passwd",
            "20260729T120000.123456Z-0123456789abcde",
            "20260729T120000.123456Z-0123456789abcdef.eml",
            "20260729T120000.123456Z-0123456789ABCDEF",
            "20260729T120000/123456Z-0123456789abcdef",
            "20260729T120000.123456Z-0123456789abc\0ef",
        ];
        for text in bad {
            assert_eq!(text.parse::<EntryId>(), Err(NotAnId), "{text:?}");
        }
    }

    #[test]
    fn a_new_id_parses() {
        let envelope = Envelope {
            reverse_path: ReversePath::parse(b"\"a\\\"b\"@x.test", false).unwrap(),
            params: crate::smtp::extension::MailParams::default(),
            recipients: Vec::new(),
        };
        for micros in [0, 1, 1_785_000_000_123_456] {
            let at = jiff::Timestamp::from_microsecond(micros).unwrap();
            let entry = Entry::new(at, u64::MAX - 1, 3, &envelope);
            assert_eq!(entry.id.as_str().parse(), Ok(entry.id.clone()), "{}", entry.id);
            let text = entry.to_toml().unwrap();
            assert_eq!(Entry::from_toml(entry.id.clone(), &text).unwrap(), entry);
        }
    }
}
