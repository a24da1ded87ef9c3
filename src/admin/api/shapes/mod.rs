//! The JSON of the API, as sent and as read back by the command line. Core types stay free of serde; these are the edge.

mod activity;
mod audit;
mod credential;
mod event;
mod figures;
mod health;
mod inbox;
mod key;
mod message;
mod org;
mod patch;
pub mod people;
mod queue;
mod reader;
mod session;
mod set_up;
mod user;
mod way_in;
mod webhook;
mod why;

use serde::Deserialize;

use crate::settings::{BadOrgName, OrgName};
use crate::store::record::Addressee;

pub use activity::{Activity, ActivityLine, ActivityOf};
pub use audit::{AuditLine, AuditLines, AuditValue};
pub use credential::{ApiKey, ApiKeyMade, ApiKeyPost, AppPassword, AppPasswordMade, AppPasswordPost};
pub use event::{Event, Events};
pub use figures::{Figures, FiguresOfDay, Places, RankedLinks, Senders};
pub use health::{Health, HealthCheck};
pub use inbox::{InboxLine, TestMailPost, TestMailSent};
pub use key::{Key, KeyUse};
pub use message::{Counts, Link, LinkPut, Message, MessageLine, Messages, Recipient};
pub use org::{Org, OrgPatch, Switches};
pub use queue::{Queue, QueuedMail, QueuedRecipient};
pub use reader::{Ranked, Reader, ReaderMails, Readers};
pub use session::Session;
pub use set_up::{SetUp, SetUpDoor, SetUpProgram, SetUpSection};
pub use user::{Notices, NoticesPut, PasswordPut, User, UserPatch, UserPost, UserTracking, UserTrackingPatch};
pub use way_in::{
    Access, AccessPatch, Invitation, InvitationMade, InvitationPost, SecondFactor, SessionsEnded, UpstreamPassword,
    UpstreamPasswordPut, UserSession,
};
pub use webhook::{Delivery, Replayed, Webhook, WebhookMade, WebhookPatch, WebhookPost};
pub use why::{Why, WhyLevel, WhySwitch};

/// An organisation's name, for handlers.
pub(super) fn org_name(text: Option<String>) -> Result<Option<OrgName>, BadOrgName> {
    text.map(|name| name.parse()).transpose()
}

/// An error, as the command line reads it.
#[derive(Debug, Deserialize)]
pub struct ProblemShape {
    /// What to do.
    pub detail: String,
}

/// What somebody is called, if they are called something.
fn called(name: String) -> Option<String> {
    Some(name).filter(|name| !name.is_empty())
}

/// Address and name.
fn named(who: Option<Addressee>) -> (Option<String>, Option<String>) {
    who.map_or((None, None), |Addressee { address, name }| (Some(address), called(name)))
}

/// RFC 3339 in UTC with milliseconds.
fn at(at_ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(at_ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}
