//! Recipients: what they have said, what the organisation notes about it, what is kept of one address and erasing it.
//!
//! **Invariant:** an address is looked up and never listed: what is kept is a keyed hash. What a recipient said
//! themselves stands whatever an admin notes.

use std::cmp::Reverse;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Actions, PortError, Refusal};
use crate::admin::paging::page;
use crate::admin::viewer::Viewer;
use crate::settings::privacy::{
    Act, Consent, ConsentRule, Footer, NAME_CHARS_MAX, NotDone, OrgPrivacy, PAGE_TEXT_CHARS_MAX, Standing,
};
use crate::settings::{Mode, Org, OrgName};
use crate::smtp::Mailbox;
use crate::store::Change;
use crate::store::consents::{Consents, SOURCE_CHARS_MAX, Said, WORDING_CHARS_MAX};
use crate::store::people::LedgerEntry;
use crate::store::record::Held;
use crate::token::{Keyring, Kind, MessageId, PersonId, TokenId};

/// Rows of one import: a request has 64 KiB.
pub const IMPORT_ROWS_MAX: usize = 100;
/// People of one list.
pub const PEOPLE_PER_LIST_MAX: usize = 1000;
/// Mails of one export or erasure.
pub const HELD_MAX: u32 = 10_000;
/// Recipients erased in one commit: some milliseconds of the history's writer.
const ERASED_PER_COMMIT_MAX: usize = 200;

/// Some who have said something, the last to say something first.
#[derive(Debug, Clone)]
pub struct PeoplePage {
    /// By hash, with how they stand.
    pub people: Vec<(PersonId, Standing)>,
    /// Whom to go on after, with when they last said something; `None` on the last page.
    pub next: Option<(i64, PersonId)>,
}

/// What the actions on people work with.
#[derive(Clone)]
pub struct Privacy {
    /// Notes what is said.
    pub consents: Arc<Consents>,
    /// Whose instance key the hashes are made with, and who seals page links.
    pub keyring: Arc<ArcSwap<Keyring>>,
    /// `[privacy]` of config.toml; swapped by a reload.
    pub consent: Arc<ArcSwap<ConsentRule>>,
}

/// One recipient, to one organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonView {
    /// The organisation.
    pub org: OrgName,
    /// The keyed hash.
    pub person: PersonId,
    /// How they stand.
    pub standing: Standing,
    /// Everything that was said, oldest first.
    pub ledger: Vec<LedgerEntry>,
    /// The address of their own page.
    pub page_url: String,
}

/// What an organisation has decided, and what is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivacyView {
    /// The organisation's own.
    pub own: OrgPrivacy,
    /// With `[privacy]` of config.toml.
    pub rule: ConsentRule,
    /// How many have said yes, no, or both and nothing that counts now.
    pub said: [usize; 3],
}

/// What to change; `None` leaves as it is, `Some(None)` goes back to nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrivacyPatch {
    /// `none` or `required`.
    pub consent: Option<Option<Consent>>,
    /// `off` or `aggregate`.
    pub without_consent: Option<Option<Mode>>,
    /// Its text.
    pub footer: Option<Option<String>>,
    /// The name on the page.
    pub shown_name: Option<Option<String>>,
    /// Its own words on the page.
    pub page_text: Option<Option<String>>,
}

/// One thing an admin notes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whose.
    pub address: String,
    /// Grant, refuse or withdraw.
    pub act: Act,
    /// When it was said; `None`: now.
    pub at_ms: Option<i64>,
    /// Where.
    pub source: String,
    /// In which words.
    pub wording: String,
}

impl Actions {
    /// What the organisation has decided about consent, footer and page.
    ///
    /// # Errors
    /// As [`Actions::org`]; [`Refusal::Forbidden`] for a sender.
    pub fn org_privacy(&self, viewer: &Viewer, name: &OrgName) -> Result<PrivacyView, Refusal> {
        let (privacy, org) = self.ruled(viewer, name)?;
        let rule = privacy.consent.load().narrowed_by(&org.privacy);
        let mut said = [0; 3];
        for (_, standing) in self.settings.snapshot().people.of(name) {
            use crate::settings::privacy::Says::{No, Nothing, Yes};
            let [yes, no, nothing] = &mut said;
            *match standing.says() {
                Yes => yes,
                No => no,
                Nothing => nothing,
            } += 1;
        }
        Ok(PrivacyView { own: org.privacy, rule, said })
    }

    /// Changes it, all or nothing, provided that it is still as the caller has `seen` it.
    ///
    /// # Errors
    /// As [`Actions::org_privacy`]; [`Refusal::Changed`]; [`Refusal::Invalid`]: a text that does not fit, or less consent than
    /// config.toml asks.
    pub async fn set_org_privacy(
        &self,
        viewer: &Viewer,
        name: &OrgName,
        patch: PrivacyPatch,
        seen: impl FnOnce(&PrivacyView) -> bool + Send,
    ) -> Result<PrivacyView, Refusal> {
        let held = self.changing(viewer).await;
        let (privacy, mut org) = self.ruled(viewer, name)?;
        if !seen(&self.org_privacy(viewer, name)?) {
            return Err(Refusal::Changed);
        }
        let floor = **privacy.consent.load();
        apply(&mut org.privacy, patch, floor)?;
        self.write(&held, Change::PutOrg(org)).await?;
        audit(viewer, name, "privacy settings changed", None);
        self.org_privacy(viewer, name)
    }

    /// One recipient of an organisation.
    ///
    /// # Errors
    /// As [`Actions::org_privacy`]; [`Refusal::Invalid`]: no address.
    pub async fn person(&self, viewer: &Viewer, name: &OrgName, address: &str) -> Result<PersonView, Refusal> {
        let (privacy, org) = self.ruled(viewer, name)?;
        let person = person_of(privacy, name, address)?;
        let standing = self.settings.snapshot().people.standing(name, person);
        let ledger = self.settings.ledger(name, person).await?;
        Ok(PersonView { org: name.clone(), person, standing, ledger, page_url: page_url(privacy, &org, person) })
    }

    /// Who has said something, by hash, the last to say something first: at most `limit` and [`PEOPLE_PER_LIST_MAX`], after
    /// one of the page before; and whom to go on after.
    ///
    /// # Errors
    /// As [`Actions::org_privacy`].
    pub fn people(
        &self,
        viewer: &Viewer,
        name: &OrgName,
        after: Option<(i64, PersonId)>,
        limit: usize,
    ) -> Result<PeoplePage, Refusal> {
        self.ruled(viewer, name)?;
        let key = |(person, standing): &(PersonId, Standing)| (Reverse(standing.changed_at_ms), *person);
        let after = after.map(|(at_ms, person)| (Reverse(at_ms), person));
        let snapshot = self.settings.snapshot();
        let mut people: Vec<_> =
            snapshot.people.of(name).filter(|one| after.is_none_or(|after| key(one) > after)).collect();
        people.sort_unstable_by_key(key);
        let (people, next) = page(people, None, limit.min(PEOPLE_PER_LIST_MAX), key);
        Ok(PeoplePage { people, next: next.map(|(Reverse(at_ms), person)| (at_ms, person)) })
    }

    /// Notes what recipients have said, all of it durable or none: for each the standing, or why it changes nothing.
    ///
    /// # Errors
    /// As [`Actions::org_privacy`]; [`Refusal::Invalid`]: an address, a source or a wording that does not fit, an act that
    /// is the recipient's alone, or too many rows.
    pub async fn note(
        &self,
        viewer: &Viewer,
        name: &OrgName,
        notes: Vec<Note>,
    ) -> Result<Vec<Result<Standing, NotDone>>, Refusal> {
        let (privacy, _) = self.ruled(viewer, name)?;
        if notes.len() > IMPORT_ROWS_MAX {
            return Err(Refusal::invalid("rows", format!("at most {IMPORT_ROWS_MAX} at a time")));
        }
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let said = notes.into_iter().map(|note| said(privacy, name, note, now_ms)).collect::<Result<Vec<_>, _>>()?;
        let told: Vec<(Act, PersonId)> = said.iter().map(|said| (said.act, said.person)).collect();
        let answers = privacy.consents.note_by(viewer.author(), name, said).await?;
        for ((act, person), _) in told.into_iter().zip(&answers).filter(|(_, answer)| answer.is_ok()) {
            audit(viewer, name, act.as_str(), Some(person));
        }
        Ok(answers)
    }

    /// Everything kept of one address as a recipient, of one organisation or all; newest mail first.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`]: it holds other people's mail, so it is for server admins.
    pub async fn held(&self, viewer: &Viewer, address: &str, org: Option<OrgName>) -> Result<Vec<Held>, Refusal> {
        if !viewer.rules_all() {
            return Err(Refusal::Forbidden("only a server admin may look up everything kept of one address"));
        }
        check(address)?;
        Ok(self.history.held(address.trim().to_owned(), org, HELD_MAX).await?)
    }

    /// Makes one address nobody's in the history of one organisation or all: how many mails it was taken out of. Links go
    /// on working; what the person said stays, as a hash.
    ///
    ///
    /// In a task of its own: whoever asked may leave, and what was begun is finished and in the audit log all the same.
    ///
    /// # Errors
    /// As [`Actions::held`]. What was erased before a failure is told in the audit log.
    pub async fn erase(
        self: &Arc<Self>,
        viewer: &Viewer,
        address: &str,
        org: Option<OrgName>,
    ) -> Result<usize, Refusal> {
        let (actions, viewer, address) = (Arc::clone(self), viewer.clone(), address.to_owned());
        let erasing = tokio::spawn(async move { actions.erase_and_tell(&viewer, &address, org).await });
        erasing.await.map_err(|died| Refusal::Port(PortError(format!("the task died: {died}"))))?
    }

    async fn erase_and_tell(&self, viewer: &Viewer, address: &str, org: Option<OrgName>) -> Result<usize, Refusal> {
        let mut erased = 0;
        let done = self.erase_all(viewer, address, org.as_ref(), &mut erased).await;
        if done.is_ok() || erased > 0 {
            let cut = if done.is_ok() { "" } else { ", then the history failed: ask again" };
            let whose = self.erased_person(address, org.as_ref());
            self.tell(viewer, org.clone(), whose, format!("erased from the history of {erased} mails{cut}")).await?;
        }
        done?;
        if let Ok(privacy) = self.privacy() {
            for name in self.settings.snapshot().orgs.keys().filter(|name| org.as_ref().is_none_or(|org| org == *name))
            {
                audit(viewer, name, "erased from the history", person_of(privacy, name, address).ok());
            }
        }
        Ok(erased)
    }

    async fn erase_all(
        &self,
        viewer: &Viewer,
        address: &str,
        org: Option<&OrgName>,
        erased: &mut usize,
    ) -> Result<(), Refusal> {
        loop {
            let held = self.held(viewer, address, org.cloned()).await?;
            let recipients: Vec<(MessageId, u16)> =
                held.iter().map(|held| (held.message, held.recipient.index)).collect();
            for some in recipients.chunks(ERASED_PER_COMMIT_MAX) {
                self.history.erase(some.to_vec()).await?;
                *erased += some.len();
            }
            if recipients.len() < HELD_MAX as usize {
                return Ok(());
            }
        }
    }

    /// Who was erased, as the audit log may go on knowing: a keyed hash, or no name at all.
    fn erased_person(&self, address: &str, org: Option<&OrgName>) -> String {
        let person = self.privacy().ok().zip(org).and_then(|(privacy, org)| person_of(privacy, org, address).ok());
        person.map_or("a recipient, in every organisation".to_owned(), |person| format!("recipient {person}"))
    }

    pub(super) fn privacy(&self) -> Result<&Privacy, Refusal> {
        self.privacy.as_ref().ok_or(Refusal::Absent("this server keeps no consents"))
    }

    fn ruled(&self, viewer: &Viewer, name: &OrgName) -> Result<(&Privacy, Org), Refusal> {
        let view = self.org(viewer, name)?;
        if !view.may_change {
            return Err(Refusal::Forbidden("only an admin of the organisation may see what its recipients said"));
        }
        Ok((self.privacy()?, view.org))
    }
}

/// Who did what about whom, in the log; people as their hash.
fn audit(viewer: &Viewer, org: &OrgName, what: &str, person: Option<PersonId>) {
    let who = viewer.login().unwrap_or("operator");
    match person {
        Some(person) => tracing::info!(audit = true, who, %org, %person, "{who} noted for {org}: {what} ({person})"),
        None => tracing::info!(audit = true, who, %org, "{who} for {org}: {what}"),
    }
}

fn check(address: &str) -> Result<(), Refusal> {
    match Mailbox::parse(address.trim().as_bytes(), true) {
        Ok(_) => Ok(()),
        Err(_) => Err(Refusal::invalid("address", "this is no mail address")),
    }
}

pub(super) fn person_of(privacy: &Privacy, org: &OrgName, address: &str) -> Result<PersonId, Refusal> {
    check(address)?;
    let keyring = privacy.keyring.load();
    Ok(PersonId::of(keyring.instance_key(), org.as_str(), address.trim().as_bytes()))
}

/// The same page a footer leads to, for a link in the organisation's own words; of no mail in particular.
fn page_url(privacy: &Privacy, org: &Org, person: PersonId) -> String {
    let keyring = privacy.keyring.load();
    let own = org.tracking_url.as_deref().and_then(|url| keyring.site_by_url(url));
    let sealer = own.or(keyring.default_site()).and_then(|site| keyring.sealer(site.id, keyring.current_key()?));
    let id = TokenId { message: MessageId(0), recipient: 0, link: 0 };
    sealer.map(|sealer| sealer.url(Kind::Preference, id, &person.payload(org.name.as_str()))).unwrap_or_default()
}

fn said(privacy: &Privacy, org: &OrgName, note: Note, now_ms: i64) -> Result<Said, Refusal> {
    let Note { address, act, at_ms, source, wording } = note;
    if matches!(act, Act::Stop | Act::Allow) {
        return Err(Refusal::invalid("act", "only the recipient can do that, on their own page"));
    }
    let source = source.trim();
    if source.is_empty() || source.chars().count() > SOURCE_CHARS_MAX {
        let detail = format!("say where it was said, in at most {SOURCE_CHARS_MAX} characters: it is the proof");
        return Err(Refusal::invalid("source", detail));
    }
    if wording.chars().count() > WORDING_CHARS_MAX || (act == Act::Grant && wording.trim().is_empty()) {
        let detail = format!("a grant needs the words that were agreed to, at most {WORDING_CHARS_MAX} characters");
        return Err(Refusal::invalid("wording", detail));
    }
    if at_ms.is_some_and(|at_ms| at_ms > now_ms) {
        return Err(Refusal::invalid("at", "it lies in the future"));
    }
    let person = person_of(privacy, org, &address)?;
    Ok(Said { person, act, at_ms: at_ms.unwrap_or(now_ms), source: source.to_owned(), wording })
}

fn apply(own: &mut OrgPrivacy, patch: PrivacyPatch, floor: ConsentRule) -> Result<(), Refusal> {
    if let Some(consent) = patch.consent {
        if consent.is_some_and(|consent| consent < floor.consent) {
            let detail = "config.toml asks for consent, and an organisation cannot ask for less";
            return Err(Refusal::invalid("consent", detail));
        }
        own.consent = consent;
    }
    if let Some(mode) = patch.without_consent {
        if mode == Some(Mode::Individual) {
            return Err(Refusal::invalid("without_consent", "off or aggregate"));
        }
        own.without_consent = mode;
    }
    if let Some(text) = patch.footer {
        let footer = text.map(|text| text.parse::<Footer>()).transpose();
        own.footer = footer.map_err(|why| Refusal::invalid("footer", why.to_string()))?;
    }
    if let Some(text) = patch.shown_name {
        own.shown_name = fitting("shown_name", text, NAME_CHARS_MAX, false)?;
    }
    if let Some(text) = patch.page_text {
        own.page_text = fitting("page_text", text, PAGE_TEXT_CHARS_MAX, true)?;
    }
    Ok(())
}

fn fitting(field: &'static str, text: Option<String>, most: usize, lines: bool) -> Result<Option<String>, Refusal> {
    let text = text.map(|text| text.replace("\r\n", "\n").trim().to_owned()).filter(|text| !text.is_empty());
    let bad = |c: char| c.is_control() && !(lines && c == '\n');
    match text {
        Some(text) if text.chars().count() > most || text.contains(bad) => {
            Err(Refusal::invalid(field, format!("at most {most} characters, and no control characters")))
        }
        text => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_organisation_cannot_ask_for_less() {
        let asked = ConsentRule { consent: Consent::Required, without_consent: Mode::Off };
        let patch = |consent| PrivacyPatch { consent: Some(consent), ..PrivacyPatch::default() };
        let mut own = OrgPrivacy::default();
        assert!(apply(&mut own, patch(Some(Consent::None)), asked).is_err());
        assert!(apply(&mut own, patch(None), asked).is_ok());
        assert!(apply(&mut own, patch(Some(Consent::None)), ConsentRule::default()).is_ok());
        let individual = PrivacyPatch { without_consent: Some(Some(Mode::Individual)), ..PrivacyPatch::default() };
        assert!(apply(&mut own, individual, ConsentRule::default()).is_err());
    }

    #[test]
    fn texts_fit() {
        let rows = [
            (Some(" Acme\r\n"), false, Ok(Some("Acme"))),
            (Some("  "), false, Ok(None)),
            (None, false, Ok(None)),
            (Some("a\nb"), true, Ok(Some("a\nb"))),
            (Some("a\nb"), false, Err(&())),
            (Some("a\u{7}"), true, Err(&())),
            (Some("123456789ab"), true, Err(&())),
        ];
        for (text, lines, expected) in rows {
            let got = fitting("x", text.map(str::to_owned), 10, lines).map_err(|_| ());
            assert_eq!(got.as_ref().map(Option::as_deref), expected, "{text:?}");
        }
    }
}
