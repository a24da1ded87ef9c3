//! The on-disk format of the spool, pure: values to octets and back.
//!
//! Two files a message, both plain enough to read with `less`:
//!
//! ```text
//! <id>.mail     waxseal spool 1\n
//!               {JSON header: envelope, how to render, how every recipient stood when it was written, body length}\n
//!               the message's octets, CRLF line ends, not dot-stuffed
//!               \nwaxseal end <SHA-256 of everything before this line, hex>\n
//! <id>.state    waxseal state 1\n
//!               {JSON: how every recipient stands}\n
//!               waxseal end <SHA-256 of the two lines before, hex>\n
//! ```
//!
//! The mail file never changes and holds the first state; the state file appears with the first change and is replaced whole. A file whose end mark or checksum is wrong is
//! unreadable: it goes to `corrupt/` and is never dropped.
//!
//! **Invariant:** `decode(encode(x)) == x`, and no prefix of an encoding decodes.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::message::{Envelope, Recipient};
use crate::smtp::extension::{BodyType, MailParams, Notify, RcptParams, Ret};
use crate::smtp::path::{ForwardPath, Mailbox, ReversePath};
use crate::token::MessageId;

const MAIL_MAGIC: &str = "waxseal spool 1\n";
const STATE_MAGIC: &str = "waxseal state 1\n";
const END_MARK: &str = "waxseal end ";

/// One message we promised to deliver: what never changes about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name in the spool and, when it is tracked, in its tokens.
    pub id: MessageId,
    /// Unix milliseconds of the client's final dot.
    pub accepted_at_ms: i64,
    /// The organisation, by name.
    pub org: String,
    /// The login; `None` for a trusted network or a report of ours.
    pub login: Option<String>,
    /// Whether this is a report we wrote ourselves: such mail never causes another.
    pub own_report: bool,
    /// Who sends to whom. The recipients' order is that of [`State::recipients`].
    pub envelope: Envelope,
    /// How the recipients stood when the record was written.
    pub first_state: State,
    /// How copies are rendered: written and read by the relay, opaque here, one line of JSON.
    pub recipe: String,
    /// Through which account it may leave.
    pub via: Via,
    /// The octets received, normalised.
    pub raw: Bytes,
}

/// Through which account a mail may leave, as it stood when the mail was taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// Its organisation had an upstream of its own: it leaves through that one only.
    #[serde(default)]
    pub own_upstream: bool,
    /// The sender's own login at upstream, sealed: it leaves with that one only. Goes with the record when its last copy is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<String>,
}

/// A record without its mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Everything but the octets received, which are empty here.
    pub record: Record,
    /// How many octets were received.
    pub body_bytes: usize,
}

/// How the recipients of one record stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// In the order of the record's envelope.
    pub recipients: Vec<RecipientState>,
    /// Whether the sender has been told of the delay.
    pub delay_told: bool,
}

/// How one recipient stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientState {
    /// Where it is.
    pub stage: Stage,
    /// Attempts made so far, the one while the client waited included.
    pub attempts: u32,
    /// Unix milliseconds before which it is not tried again.
    pub next_try_ms: i64,
    /// Upstream's last words, or ours, cleaned; empty before any.
    pub last_reply: String,
    /// The host that said so; empty when we did.
    pub last_host: String,
}

/// Where one recipient of a spooled message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// To be tried at `next_try_ms`.
    Waiting,
    /// The last dot was sent and its reply is awaited. After a restart: [`Stage::Unknown`].
    InFlight,
    /// The connection was lost after the dot: perhaps delivered, tried again no sooner than 10 minutes later.
    Unknown,
    /// Upstream accepted it.
    Delivered,
    /// Given up; a bounce is owed to the sender.
    BounceOwed,
    /// Given up, and the sender has been told (or must not be).
    Failed,
}

impl Stage {
    /// Nothing more is to be done for this recipient.
    pub fn is_settled(self) -> bool {
        matches!(self, Stage::Delivered | Stage::Failed)
    }

    /// As shown to people.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Waiting => "waiting",
            Stage::InFlight => "in flight",
            Stage::Unknown => "unknown",
            Stage::Delivered => "delivered",
            Stage::BounceOwed => "bounce owed",
            Stage::Failed => "failed",
        }
    }
}

/// Why octets are not a spool file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The first line is not ours, or of a version this program does not know.
    #[error("not a spool file of version 1")]
    Magic,
    /// The file ends early or its end mark is missing: a write that never finished.
    #[error("cut off")]
    Truncated,
    /// The checksum does not fit: the disk or a hand changed it.
    #[error("checksum mismatch")]
    Checksum,
    /// The header is not what this program writes.
    #[error("header: {0}")]
    Header(String),
}

impl Record {
    /// The mail file, in pieces so that the body is not copied: head, body, tail.
    ///
    /// # Errors
    /// [`FormatError::Header`] when the header cannot be written as JSON, which no value of these types causes.
    pub fn encode(&self) -> Result<[Bytes; 3], FormatError> {
        let header = serde_json::to_string(&Header::of(self)).map_err(|e| FormatError::Header(e.to_string()))?;
        let head = format!("{MAIL_MAGIC}{header}\n");
        let sum = Sha256::new().chain_update(&head).chain_update(&self.raw).finalize();
        let tail = format!("\n{END_MARK}{}\n", hex(&sum));
        Ok([head.into(), self.raw.clone(), tail.into()])
    }

    /// Reads a mail file back.
    ///
    /// # Errors
    /// [`FormatError`]: the file belongs into `corrupt/`.
    pub fn decode(file: &Bytes) -> Result<Record, FormatError> {
        let (header, body_at) = Header::read(file)?;
        let body_end = body_at.checked_add(header.body_bytes).ok_or(FormatError::Truncated)?;
        let covered = file.get(..body_end).ok_or(FormatError::Truncated)?;
        let tail = file.get(body_end..).and_then(|t| t.strip_prefix(b"\n")).ok_or(FormatError::Truncated)?;
        check_end(covered, tail)?;
        header.into_record(file.slice(body_at..body_end))
    }

    /// Reads the head of a mail file from its first octets; the mail itself stays empty and the checksum unread.
    ///
    /// # Errors
    /// [`FormatError::Truncated`] when the head is longer than what was given; else as [`Record::decode`].
    pub fn decode_head(start: &[u8]) -> Result<Head, FormatError> {
        let (header, _) = Header::read(start)?;
        let body_bytes = header.body_bytes;
        Ok(Head { record: header.into_record(Bytes::new())?, body_bytes })
    }
}

impl State {
    /// A state in which every recipient waits for `next_try_ms`.
    pub fn waiting(recipients: usize, next_try_ms: i64) -> State {
        let one = RecipientState {
            stage: Stage::Waiting,
            attempts: 0,
            next_try_ms,
            last_reply: String::new(),
            last_host: String::new(),
        };
        State { recipients: vec![one; recipients], delay_told: false }
    }

    /// The state file.
    ///
    /// # Errors
    /// As [`Record::encode`].
    pub fn encode(&self) -> Result<Bytes, FormatError> {
        let json = serde_json::to_string(self).map_err(|e| FormatError::Header(e.to_string()))?;
        let covered = format!("{STATE_MAGIC}{json}\n");
        let sum = Sha256::digest(covered.as_bytes());
        Ok(format!("{covered}{END_MARK}{}\n", hex(&sum)).into())
    }

    /// Reads a state file back.
    ///
    /// # Errors
    /// [`FormatError`]: the file belongs into `corrupt/`.
    pub fn decode(file: &[u8]) -> Result<State, FormatError> {
        let rest = file.strip_prefix(STATE_MAGIC.as_bytes()).ok_or(FormatError::Magic)?;
        let line_len = memchr::memchr(b'\n', rest).ok_or(FormatError::Truncated)?;
        let covered = file.get(..STATE_MAGIC.len() + line_len + 1).ok_or(FormatError::Truncated)?;
        let tail = file.get(covered.len()..).ok_or(FormatError::Truncated)?;
        check_end(covered, tail)?;
        let json = rest.get(..line_len).ok_or(FormatError::Truncated)?;
        serde_json::from_slice(json).map_err(|e| FormatError::Header(e.to_string()))
    }

    /// When this message is due next: the earliest `next_try_ms` of a recipient that waits for something to be done.
    /// One whose reply is awaited waits for nothing: its attempt settles it.
    pub fn next_due_ms(&self) -> Option<i64> {
        self.recipients
            .iter()
            .filter(|r| !r.stage.is_settled() && r.stage != Stage::InFlight)
            .map(|r| r.next_try_ms)
            .min()
    }
}

fn check_end(covered: &[u8], tail: &[u8]) -> Result<(), FormatError> {
    let sum =
        tail.strip_prefix(END_MARK.as_bytes()).and_then(|t| t.strip_suffix(b"\n")).ok_or(FormatError::Truncated)?;
    if sum == hex(&Sha256::digest(covered)).as_bytes() { Ok(()) } else { Err(FormatError::Checksum) }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|b| format!("{b:02x}")).collect()
}

/// The JSON header of a mail file. Addresses are UTF-8 by the session's grammar, so they stand readable.
#[derive(Serialize, Deserialize)]
struct Header {
    id: String,
    accepted_at_ms: i64,
    org: String,
    login: Option<String>,
    #[serde(default)]
    own_report: bool,
    from: String,
    declared_size_bytes: Option<u64>,
    eight_bit: bool,
    smtputf8: bool,
    ret: Option<String>,
    envid: Option<String>,
    recipients: Vec<HeaderRecipient>,
    first_state: State,
    recipe: String,
    #[serde(default)]
    via: Via,
    body_bytes: usize,
}

#[derive(Serialize, Deserialize)]
struct HeaderRecipient {
    to: String,
    notify: Option<[bool; 3]>,
    orcpt: Option<String>,
}

impl Header {
    /// The header of a mail file and where the body begins.
    fn read(file: &[u8]) -> Result<(Header, usize), FormatError> {
        let magic = file.get(..MAIL_MAGIC.len()).ok_or(FormatError::Truncated)?;
        if magic != MAIL_MAGIC.as_bytes() {
            return Err(FormatError::Magic);
        }
        let rest = file.get(MAIL_MAGIC.len()..).ok_or(FormatError::Truncated)?;
        let line_len = memchr::memchr(b'\n', rest).ok_or(FormatError::Truncated)?;
        let line = rest.get(..line_len).ok_or(FormatError::Truncated)?;
        let header: Header = serde_json::from_slice(line).map_err(|e| FormatError::Header(e.to_string()))?;
        Ok((header, MAIL_MAGIC.len() + line_len + 1))
    }

    fn of(record: &Record) -> Header {
        let params = &record.envelope.params;
        Header {
            id: record.id.to_string(),
            accepted_at_ms: record.accepted_at_ms,
            org: record.org.clone(),
            login: record.login.clone(),
            own_report: record.own_report,
            from: match &record.envelope.reverse_path {
                ReversePath::Null => String::new(),
                ReversePath::Mailbox(mailbox) => mailbox.display(),
            },
            declared_size_bytes: params.size_bytes,
            eight_bit: params.body == BodyType::EightBitMime,
            smtputf8: params.smtputf8,
            ret: params.ret.map(|ret| if ret == Ret::Full { "FULL" } else { "HDRS" }.to_owned()),
            envid: params.envid.clone(),
            recipients: record.envelope.recipients.iter().map(HeaderRecipient::of).collect(),
            first_state: record.first_state.clone(),
            recipe: record.recipe.clone(),
            via: record.via.clone(),
            body_bytes: record.raw.len(),
        }
    }

    fn into_record(self, raw: Bytes) -> Result<Record, FormatError> {
        let bad = |what: &str| FormatError::Header(format!("unreadable {what}"));
        let utf8 = true; // what the session accepted is read back as it was, whatever MAIL said
        let mailbox = |text: &str| Mailbox::parse(text.as_bytes(), utf8).map_err(|_| bad("address"));
        let reverse_path =
            if self.from.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(mailbox(&self.from)?) };
        let ret = match self.ret.as_deref() {
            None => None,
            Some("FULL") => Some(Ret::Full),
            Some("HDRS") => Some(Ret::Hdrs),
            Some(_) => return Err(bad("ret")),
        };
        let recipients = self.recipients.into_iter().map(|r| {
            let notify = r.notify.map(|[success, failure, delay]| Notify { success, failure, delay });
            Ok(Recipient { path: ForwardPath(mailbox(&r.to)?), params: RcptParams { notify, orcpt: r.orcpt } })
        });
        Ok(Record {
            id: self.id.parse().map_err(|_| bad("id"))?,
            accepted_at_ms: self.accepted_at_ms,
            org: self.org,
            login: self.login,
            own_report: self.own_report,
            envelope: Envelope {
                reverse_path,
                params: MailParams {
                    size_bytes: self.declared_size_bytes,
                    body: if self.eight_bit { BodyType::EightBitMime } else { BodyType::SevenBit },
                    smtputf8: self.smtputf8,
                    ret,
                    envid: self.envid,
                },
                recipients: recipients.collect::<Result<_, FormatError>>()?,
            },
            first_state: self.first_state,
            recipe: self.recipe,
            via: self.via,
            raw,
        })
    }
}

impl HeaderRecipient {
    fn of(recipient: &Recipient) -> HeaderRecipient {
        HeaderRecipient {
            to: recipient.path.0.display(),
            notify: recipient.params.notify.map(|n| [n.success, n.failure, n.delay]),
            orcpt: recipient.params.orcpt.clone(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text.as_bytes(), true).unwrap()
    }

    pub(crate) fn record(raw: &[u8]) -> Record {
        let notify = Some(Notify { success: false, failure: true, delay: false });
        Record {
            id: MessageId(0x1234_5678_9abc_def0),
            accepted_at_ms: 1_795_000_000_000,
            org: "default".to_owned(),
            login: Some("alice".to_owned()),
            own_report: false,
            envelope: Envelope {
                reverse_path: ReversePath::Mailbox(mailbox("a@x.test")),
                params: MailParams {
                    size_bytes: Some(7),
                    body: BodyType::EightBitMime,
                    smtputf8: true,
                    ret: Some(Ret::Hdrs),
                    envid: Some("QQ+2B314159".to_owned()),
                },
                recipients: vec![
                    Recipient {
                        path: ForwardPath(mailbox("\"x@evil.test> NOTIFY=NEVER \"@ok.test")),
                        params: RcptParams { notify, orcpt: Some("rfc822;b@ok.test".to_owned()) },
                    },
                    Recipient { path: ForwardPath(mailbox("häns@ok.test")), params: RcptParams::default() },
                ],
            },
            first_state: State::waiting(2, 7),
            recipe: "{\"plan\":1}".to_owned(),
            via: Via { own_upstream: true, login: Some("sealed".to_owned()) },
            raw: Bytes::copy_from_slice(raw),
        }
    }

    /// What is written is what is read, for bodies that look like our own marks too.
    #[test]
    fn a_record_comes_back_as_it_was() {
        for body in [&b""[..], b"Subject: x\r\n\r\nhi\r\n", b"\nwaxseal end 00\n", b"\0\xff\n\n"] {
            let record = record(body);
            let file: Bytes = record.encode().unwrap().concat().into();
            let head = Record::decode_head(&file).unwrap();
            assert_eq!(head.record, Record { raw: Bytes::new(), ..record.clone() });
            assert_eq!(head.body_bytes, body.len());
            assert_eq!(Record::decode(&file), Ok(record));
        }
    }

    /// A crash may leave any prefix: none of them may pass for a whole record.
    #[test]
    fn no_prefix_of_a_record_is_a_record() {
        let file: Bytes = record(b"Subject: x\r\n\r\nhi\r\n").encode().unwrap().concat().into();
        for len in 0..file.len() {
            assert!(Record::decode(&file.slice(..len)).is_err(), "prefix of {len}");
        }
        let state = State::waiting(2, 5).encode().unwrap();
        for len in 0..state.len() {
            assert!(State::decode(&state[..len]).is_err(), "state prefix of {len}");
        }
    }

    /// Every single flipped bit is noticed.
    #[test]
    fn no_flipped_bit_goes_unseen() {
        let file = record(b"Subject: x\r\n\r\nhi\r\n").encode().unwrap().concat();
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1;
            assert!(Record::decode(&Bytes::from(bad)).is_err(), "octet {at}");
        }
    }

    #[test]
    fn the_earliest_unsettled_recipient_is_due_next() {
        let mut state = State::waiting(3, 50);
        state.recipients[1].next_try_ms = 10;
        assert_eq!(state.next_due_ms(), Some(10));
        state.recipients[1].stage = Stage::InFlight;
        assert_eq!(state.next_due_ms(), Some(50));
        state.recipients[1].stage = Stage::Delivered;
        assert_eq!(state.next_due_ms(), Some(50));
        state.recipients[0].stage = Stage::Failed;
        state.recipients[2].stage = Stage::Failed;
        assert_eq!(state.next_due_ms(), None);
        assert_eq!(State::decode(&state.encode().unwrap()), Ok(state));
    }
}
