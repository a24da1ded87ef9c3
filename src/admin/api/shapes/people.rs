//! Recipients: what they said, and what is kept of one address.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{at, called, patch};
use crate::admin::actions::people::{PersonView, PrivacyView};
use crate::settings::privacy::{Says, Standing};
use crate::store::record::Held as HeldRecord;
use crate::token::PersonId;

/// `GET`/`PATCH /api/v1/orgs/{name}/privacy`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OrgPrivacy {
    /// In force: `none` or `required`.
    pub consent: String,
    /// In force for who has said nothing: `off` or `aggregate`.
    pub without_consent: String,
    /// The footer's text; null: none.
    pub footer: Option<String>,
    /// The name on the recipient's page; null: the short one.
    pub shown_name: Option<String>,
    /// The organisation's own words on the recipient's page.
    pub page_text: Option<String>,
    /// How many recipients have said yes.
    pub yes: usize,
    /// How many have said no.
    pub no: usize,
}

/// What to change; what is not there stays. Of the texts `""` and null go back to nothing.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrgPrivacyPatch {
    /// `none`, `required`, or `follow` config.toml, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub consent: Option<String>,
    /// `off`, `aggregate`, or `follow` config.toml, as null does.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::follow")]
    pub without_consent: Option<String>,
    /// Plain text with `[words]` for the link.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::nothing")]
    pub footer: Option<String>,
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::nothing")]
    pub shown_name: Option<String>,
    /// Some lines.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "patch::nothing")]
    pub page_text: Option<String>,
}

/// One recipient who has said something, by hash.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PersonLine {
    /// The keyed hash.
    pub person: String,
    /// What it comes to: `yes`, `no` or `nothing`.
    pub says: String,
    /// Stopped on their own page.
    pub stopped: bool,
    /// What the organisation noted: `nothing`, `granted`, `refused`, `withdrawn`.
    pub noted: String,
    /// RFC 3339; null when nothing was ever said.
    pub changed_at: Option<String>,
}

/// One recipient, looked up by address.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Person {
    /// How they stand.
    #[serde(flatten)]
    pub line: PersonLine,
    /// Their own page.
    pub page_url: String,
    /// What was said, oldest first.
    pub ledger: Vec<Entry>,
}

/// A line of the ledger.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// RFC 3339.
    pub at: String,
    /// `stop`, `allow`, `grant`, `refuse`, `withdraw`.
    pub act: String,
    /// Where.
    pub source: String,
    /// In which words.
    pub wording: String,
}

/// `POST /api/v1/orgs/{name}/people`: at most 100.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotesPost {
    /// All of them are noted or none.
    pub notes: Vec<NotePost>,
}

/// One thing a recipient said to the organisation.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NotePost {
    /// Whose.
    pub address: String,
    /// `grant`, `refuse` or `withdraw`.
    pub act: String,
    /// RFC 3339; not given: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Where it was said.
    pub source: String,
    /// In which words.
    #[serde(default)]
    pub wording: String,
}

/// What came of one note, in their order.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Noted {
    /// What the person says now; null when nothing changed.
    pub says: Option<String>,
    /// Why nothing changed.
    pub why_not: Option<String>,
}

/// `POST /api/v1/privacy/export` and `/erase`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The address.
    pub address: String,
    /// Only of this organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org: Option<String>,
}

/// Everything kept of one address as a recipient.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Export {
    /// As asked.
    pub address: String,
    /// What they said, by organisation.
    pub said: Vec<Said>,
    /// Mail sent to them, newest first.
    pub mails: Vec<HeldMail>,
}

/// What one person said to one organisation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Said {
    /// The organisation.
    pub org: String,
    /// How they stand and what was said.
    #[serde(flatten)]
    pub person: Person,
}

/// One mail to them.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HeldMail {
    /// The mail's id.
    pub id: String,
    /// RFC 3339.
    pub accepted_at: String,
    /// Whose mail.
    pub org: String,
    /// The From header's mailbox.
    pub from: String,
    /// Its subject.
    pub subject: String,
    /// The address as the sender wrote it.
    pub address: String,
    /// What the sender called them; null when they were called nothing.
    #[serde(default)]
    pub name: Option<String>,
    /// `off`, `aggregate`, `individual`.
    pub opens: String,
    /// The same.
    pub links: String,
    /// How delivery stands.
    pub state: String,
    /// Upstream's words about it.
    pub reply: String,
    /// What they did with it, oldest first.
    pub events: Vec<HeldEvent>,
}

/// One open or click known to be theirs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HeldEvent {
    /// RFC 3339.
    pub at: String,
    /// `open` or `click`.
    pub kind: String,
    /// Which link; 0 for an open.
    pub link: u16,
    /// Who it was judged to be.
    pub verdict: String,
    /// How often again within a minute.
    pub repeats: u32,
    /// ISO 3166 code.
    pub country: Option<String>,
    /// Name.
    pub city: Option<String>,
    /// Program.
    pub agent: Option<String>,
    /// Its system.
    pub os: Option<String>,
    /// Its device.
    pub device: Option<String>,
    /// The address it came from, where the organisation keeps it.
    pub address: Option<String>,
    /// The whole user agent, where the organisation keeps it.
    pub raw_agent: Option<String>,
    /// A keyed hash of its network is kept for comparing within this mail.
    pub network_hash_kept: bool,
}

/// What an erasure did.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Erased {
    /// Mails the address was taken out of.
    pub mails: usize,
}

/// `yes`, `no`, `nothing`.
pub fn says(says: Says) -> &'static str {
    match says {
        Says::Yes => "yes",
        Says::No => "no",
        Says::Nothing => "nothing",
    }
}

impl From<(PersonId, Standing)> for PersonLine {
    fn from((person, standing): (PersonId, Standing)) -> PersonLine {
        PersonLine {
            person: person.to_string(),
            says: says(standing.says()).to_owned(),
            stopped: standing.stopped,
            noted: standing.noted.as_str().to_owned(),
            changed_at: (standing.acts > 0).then(|| at(standing.changed_at_ms)),
        }
    }
}

impl From<PersonView> for Person {
    fn from(view: PersonView) -> Person {
        let entries = view.ledger.into_iter().map(|entry| Entry {
            at: at(entry.at_ms),
            act: entry.act.as_str().to_owned(),
            source: entry.source,
            wording: entry.wording,
        });
        let ledger = entries.collect();
        Person { line: (view.person, view.standing).into(), page_url: view.page_url, ledger }
    }
}

impl From<PrivacyView> for OrgPrivacy {
    fn from(view: PrivacyView) -> OrgPrivacy {
        let PrivacyView { own, rule, said: [yes, no, _] } = view;
        OrgPrivacy {
            consent: rule.consent.to_string(),
            without_consent: rule.without_consent.to_string(),
            footer: own.footer.map(|footer| footer.as_str().to_owned()),
            shown_name: own.shown_name,
            page_text: own.page_text,
            yes,
            no,
        }
    }
}

impl From<HeldRecord> for HeldMail {
    fn from(held: HeldRecord) -> HeldMail {
        let HeldRecord { message, accepted_at_ms, org, header_from, subject, recipient, events } = held;
        let event = |event: crate::event::Event| HeldEvent {
            at: at(event.at_ms),
            kind: event.kind.as_str().to_owned(),
            link: event.id.link,
            verdict: event.verdict.as_str().to_owned(),
            repeats: event.repeats,
            country: event.country,
            city: event.city,
            agent: event.agent_family,
            os: event.os_family,
            device: event.device_family,
            address: event.evidence.as_ref().map(|evidence| evidence.address.to_string()),
            raw_agent: event.evidence.and_then(|evidence| evidence.agent),
            network_hash_kept: event.network_hash.is_some(),
        };
        HeldMail {
            id: message.to_string(),
            accepted_at: at(accepted_at_ms),
            org: org.as_str().to_owned(),
            from: header_from,
            subject,
            address: recipient.address,
            name: called(recipient.name),
            opens: recipient.opens.to_string(),
            links: recipient.links.to_string(),
            state: recipient.delivery.told().to_owned(),
            reply: recipient.delivery.reply,
            events: events.into_iter().map(event).collect(),
        }
    }
}
