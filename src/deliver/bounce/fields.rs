//! The part of a report that programs read: `message/delivery-status` (RFC 3464 §2).
//!
//! **Invariant:** a field is one line of printable ASCII, whatever its value came from.

use crate::message::Recipient;
use crate::smtp::{Enhanced, Mailbox, Reply};

use super::{Kind, Occasion, date};
use crate::deliver::fate::{Fate, Why};

/// Upstream's words in one field.
const DIAGNOSTIC_BYTES_MAX: usize = 900;

/// Fields for the message, then a group of fields for each recipient.
pub(super) fn fields(occasion: &Occasion<'_>, told: &[(&Recipient, &Fate)]) -> String {
    let mut fields = String::new();
    if let Some(envid) = &occasion.envelope.params.envid {
        field(&mut fields, "Original-Envelope-Id", &xtext_decoded(envid));
    }
    field(&mut fields, "Reporting-MTA", &format!("dns; {}", occasion.hostname));
    field(&mut fields, "Arrival-Date", &date(occasion.arrived_unix));
    for (recipient, fate) in told {
        fields.push_str("\r\n");
        if let Some(orcpt) = &recipient.params.orcpt {
            field(&mut fields, "Original-Recipient", &original_recipient(orcpt));
        }
        field(&mut fields, "Final-Recipient", &final_recipient(&recipient.path.0));
        field(&mut fields, "Action", action(occasion.kind));
        field(&mut fields, "Status", &status(occasion.kind, fate));
        field(&mut fields, "Remote-MTA", &format!("dns; {}", occasion.upstream));
        if let Some(reply) = reply_of(fate) {
            field(&mut fields, "Diagnostic-Code", &format!("smtp; {}", Why::Reply(reply.clone())));
        }
        field(&mut fields, "Last-Attempt-Date", &date(occasion.now_unix));
        if let Kind::Delayed { until_unix } = occasion.kind {
            field(&mut fields, "Will-Retry-Until", &date(until_unix));
        }
    }
    fields
}

/// One line, printable ASCII, whatever the value holds.
fn field(fields: &mut String, name: &str, value: &str) {
    let clean = value.chars().take(DIAGNOSTIC_BYTES_MAX).map(|c| if matches!(c, ' '..='~') { c } else { '?' });
    fields.push_str(name);
    fields.push_str(": ");
    fields.extend(clean);
    fields.push_str("\r\n");
}

fn action(kind: Kind) -> &'static str {
    match kind {
        Kind::Failed => "failed",
        Kind::Delayed { .. } => "delayed",
        Kind::Relayed => "relayed",
    }
}

/// Upstream's own status where its class fits; 5.4.7 (delivery time expired) for what was tried in vain to the end.
fn status(kind: Kind, fate: &Fate) -> String {
    let said = reply_of(fate).and_then(|reply| reply.enhanced);
    let (class, otherwise) = match (kind, fate) {
        (Kind::Failed, Fate::Refused { .. }) => (5, Enhanced(5, 0, 0)),
        (Kind::Failed, _) => (5, Enhanced(5, 4, 7)),
        (Kind::Delayed { .. }, _) => (4, Enhanced(4, 4, 0)),
        (Kind::Relayed, _) => (2, Enhanced(2, 0, 0)),
    };
    let Enhanced(class, subject, detail) = said.filter(|enhanced| enhanced.0 == class).unwrap_or(otherwise);
    format!("{class}.{subject}.{detail}")
}

pub(super) fn reply_of(fate: &Fate) -> Option<&Reply> {
    match fate {
        Fate::Accepted { reply, .. } | Fate::Refused { reply, .. } => Some(reply),
        Fate::Deferred { why: Why::Reply(reply), .. } => Some(reply),
        Fate::Deferred { .. } | Fate::Unknown { .. } => None,
    }
}

/// `rfc822; a@b`, or `utf-8; …` with what is not ASCII written as `\x{FC}` (RFC 6533 §3).
fn final_recipient(mailbox: &Mailbox) -> String {
    let address = mailbox.display();
    if address.is_ascii() {
        return format!("rfc822; {address}");
    }
    let ascii = address.chars().map(|c| match c {
        '\\' => "\\x{5C}".to_owned(),
        c if c.is_ascii() => c.to_string(),
        c => format!("\\x{{{:X}}}", u32::from(c)),
    });
    format!("utf-8; {}", ascii.collect::<String>())
}

/// ORCPT is `type;xtext`; the field holds the address decoded.
fn original_recipient(orcpt: &str) -> String {
    match orcpt.split_once(';') {
        Some((kind, address)) if kind.eq_ignore_ascii_case("rfc822") => format!("rfc822; {}", xtext_decoded(address)),
        Some((kind, address)) => format!("{kind}; {address}"),
        None => orcpt.to_owned(),
    }
}

/// RFC 3461 §4: `+2B` is a plus sign. What is not well-formed stays as it is.
fn xtext_decoded(xtext: &str) -> String {
    let mut parts = xtext.split('+');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let hex = part.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(u8::is_ascii) {
            Some(octet) => {
                decoded.push(char::from(octet));
                decoded.push_str(part.get(2..).unwrap_or_default());
            }
            None => {
                decoded.push('+');
                decoded.push_str(part);
            }
        }
    }
    decoded
}
