//! The test mail: one click from "is it running?" to a tracked mail in an inbox, and how it fares from there.

use super::messages::MessageView;
use super::{Actions, Refusal};
use crate::admin::ports::{Submitted, TestMail, TestMailRequest};
use crate::admin::viewer::Viewer;
use crate::settings::{OrgName, User};
use crate::token::MessageId;

/// Mails of the inbox that are looked at for the test mail: it has just arrived.
const INBOX_LOOKED_AT_MAX: usize = 20;

/// How a test mail has fared so far.
#[derive(Debug, Clone)]
pub struct TestMailProgress {
    /// The mail, with its events.
    pub view: MessageView,
    /// Its copy in the built-in inbox, for who may look into it.
    pub inbox: Option<String>,
}

impl Actions {
    /// The address the test-mail form of the inbox suggests; `None` when this viewer may not look into it.
    pub fn test_mail_suggestion(&self, viewer: &Viewer) -> Option<String> {
        let test_mail = self.test_mail.as_deref()?;
        viewer.rules_all().then(|| test_mail.suggested_to())
    }

    /// The address to try one's own set-up with: the viewer's own, where it is known. `None`: there is no test mail.
    pub fn own_test_address(&self, viewer: &Viewer) -> Option<String> {
        let test_mail = self.test_mail.as_deref()?;
        let snapshot = self.settings.snapshot();
        let user = viewer.login().and_then(|login| snapshot.users.get(login));
        Some(user.and_then(own_address).unwrap_or_else(|| test_mail.suggested_to()))
    }

    /// Sends a test mail to `to` under the settings of `org` (default: the viewer's, else the first), from nobody's login.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for all but server admins, [`Refusal::Invalid`] for what is no address,
    /// [`Refusal::Port`] with upstream's words.
    pub async fn send_test_mail(&self, viewer: &Viewer, org: Option<OrgName>, to: &str) -> Result<Submitted, Refusal> {
        if !viewer.rules_all() {
            return Err(Refusal::Forbidden("only a server admin may send a test mail"));
        }
        let sender = self.sender()?;
        let to = plain_address(to)?;
        let snapshot = self.settings.snapshot();
        let own = viewer.login().and_then(|login| snapshot.users.get(login)).and_then(|user| user.org.clone());
        let org = org.or(own).or_else(|| snapshot.orgs.keys().next().cloned());
        match org {
            Some(org) if snapshot.orgs.contains_key(&org) => {
                Ok(sender.send(TestMailRequest { org, login: None, from: None, to }).await?)
            }
            Some(org) => Err(Refusal::not_found("organisation", org.as_str())),
            None => Err(Refusal::Absent("there is no organisation yet; add one to config.toml")),
        }
    }

    /// Sends a test mail as the viewer's own mail: it counts against their allowance and is theirs to see, for it is no
    /// more than they could send with their login. A server admin of no organisation sends as in
    /// [`Actions::send_test_mail`].
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for what is no address, [`Refusal::Port`] with upstream's words.
    pub async fn send_own_test_mail(&self, viewer: &Viewer, to: &str) -> Result<Submitted, Refusal> {
        let snapshot = self.settings.snapshot();
        let user = viewer.login().and_then(|login| snapshot.users.get(login));
        let Some((user, org)) = user.and_then(|user| Some((user, user.org.clone()?))) else {
            return self.send_test_mail(viewer, None, to).await;
        };
        let domains = snapshot.orgs.get(&org).map(|org| org.domains.clone()).unwrap_or_default();
        let is_ours = |address: &String| {
            let domain = address.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase());
            user.addresses.contains(address) || domain.is_some_and(|domain| domains.contains(&domain))
        };
        let from = own_address(user).filter(is_ours);
        let request = TestMailRequest { org, login: Some(user.login.clone()), from, to: plain_address(to)? };
        Ok(self.sender()?.send(request).await?)
    }

    /// How a test mail fares.
    ///
    /// # Errors
    /// As [`Actions::message`].
    pub async fn test_mail_progress(&self, viewer: &Viewer, id: MessageId) -> Result<TestMailProgress, Refusal> {
        let view = self.message(viewer, id).await?;
        let inbox = if self.has_inbox(viewer) { self.inbox_copy(&view.record.message_id_header).await? } else { None };
        Ok(TestMailProgress { view, inbox })
    }

    async fn inbox_copy(&self, message_id: &str) -> Result<Option<String>, Refusal> {
        let Some(inbox) = self.inbox.as_deref().filter(|_| !message_id.is_empty()) else { return Ok(None) };
        for entry in inbox.list(None, INBOX_LOOKED_AT_MAX).await? {
            let raw = inbox.read(&entry.id).await?.map(|(_, raw)| raw).unwrap_or_default();
            if memchr::memmem::find(&raw, message_id.as_bytes()).is_some() {
                return Ok(Some(entry.id));
            }
        }
        Ok(None)
    }

    fn sender(&self) -> Result<&dyn TestMail, Refusal> {
        self.test_mail.as_deref().ok_or(Refusal::Absent("this server has no test mail"))
    }
}

/// The login, where it is an address, else the first address the user may send as.
fn own_address(user: &User) -> Option<String> {
    let login = Some(&user.login).filter(|login| login.contains('@'));
    login.or_else(|| user.addresses.first()).cloned()
}

fn plain_address(to: &str) -> Result<String, Refusal> {
    let to = to.trim();
    let fit = to.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    if !fit || !to.bytes().all(|b| b.is_ascii_graphic() && !b"<>,;\"".contains(&b)) || to.len() > 254 {
        return Err(Refusal::invalid("to", "a plain mail address is needed"));
    }
    Ok(to.to_owned())
}
