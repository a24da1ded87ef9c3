//! The test mail: one click from "is it running?" to a tracked mail in an inbox.

use super::{Actions, Refusal};
use crate::admin::ports::TestMailRequest;
use crate::admin::viewer::Viewer;
use crate::settings::OrgName;

impl Actions {
    /// The address the test-mail form suggests; `None` when this viewer may send none.
    pub fn test_mail_suggestion(&self, viewer: &Viewer) -> Option<String> {
        let test_mail = self.test_mail.as_deref()?;
        viewer.rules_all().then(|| test_mail.suggested_to())
    }

    /// Sends a test mail to `to` under the settings of `org` (default: the viewer's, else the first).
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for all but server admins, [`Refusal::Invalid`] for what is no address,
    /// [`Refusal::Port`] with upstream's words.
    pub async fn send_test_mail(&self, viewer: &Viewer, org: Option<OrgName>, to: &str) -> Result<String, Refusal> {
        if !viewer.rules_all() {
            return Err(Refusal::Forbidden("only a server admin may send a test mail"));
        }
        let sender = self.test_mail.as_deref().ok_or(Refusal::Absent("this server has no test mail"))?;
        let to = to.trim();
        let fit = to.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
        if !fit || !to.bytes().all(|b| b.is_ascii_graphic() && !b"<>,;\"".contains(&b)) || to.len() > 254 {
            return Err(Refusal::invalid("to", "a plain mail address is needed"));
        }
        let snapshot = self.settings.snapshot();
        let login = viewer.login().map(str::to_owned);
        let own = login.as_ref().and_then(|login| snapshot.users.get(login)).and_then(|user| user.org.clone());
        let org = org.or(own).or_else(|| snapshot.orgs.keys().next().cloned());
        match org {
            Some(org) if snapshot.orgs.contains_key(&org) => {
                Ok(sender.send(TestMailRequest { org, login, to: to.to_owned() }).await?)
            }
            Some(org) => Err(Refusal::not_found("organisation", org.as_str())),
            None => Err(Refusal::Absent("there is no organisation yet; add one to config.toml")),
        }
    }
}
