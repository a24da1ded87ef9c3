//! The root keys of all links, without their secrets.

use super::{Actions, Refusal};
use crate::admin::ports::{KeyEntry, Keys};
use crate::admin::viewer::Viewer;
use crate::store::Sealed;

impl Actions {
    /// Every key, oldest first.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for all but server admins; [`Refusal::Port`] when the key file cannot be read.
    pub async fn list_keys(&self, viewer: &Viewer) -> Result<Vec<KeyEntry>, Refusal> {
        Ok(self.key_file(viewer)?.list().await?)
    }

    /// Adds a key and makes it current. Links under old keys open for ever.
    ///
    /// # Errors
    /// As [`Actions::list_keys`].
    pub async fn rotate_keys(&self, viewer: &Viewer) -> Result<KeyEntry, Refusal> {
        let keys = self.key_file(viewer)?;
        let held = self.changing(viewer).await;
        let made = keys.rotate().await?;
        drop(held);
        let words = format!("rotated: new links are sealed with key {}", made.id);
        self.tell(viewer, None, "keys".to_owned(), words).await?;
        Ok(made)
    }

    /// One key, and what of the mail on record it seals.
    ///
    /// # Errors
    /// As [`Actions::list_keys`]; [`Refusal::NotFound`]; [`Refusal::Store`].
    pub async fn key(&self, viewer: &Viewer, id: u8) -> Result<(KeyEntry, Sealed), Refusal> {
        let found = self.list_keys(viewer).await?.into_iter().find(|key| key.id == id);
        let key = found.ok_or_else(|| Refusal::not_found("key", id))?;
        Ok((key, self.history.sealed_with(id).await?))
    }

    /// Revokes a key that is in wrong hands: every link and picture that it sealed answers 404 from now on, also those of
    /// mail that is no longer on record. It cannot be taken back.
    ///
    /// # Errors
    /// As [`Actions::key`]; [`Refusal::Conflict`] for the key that seals new links; [`Refusal::Forbidden`] with an API key.
    pub async fn revoke_key(&self, viewer: &Viewer, id: u8) -> Result<KeyEntry, Refusal> {
        let held = self.changing(viewer).await;
        let (key, Sealed { mails, links }) = self.key(viewer, id).await?;
        viewer.in_person()?;
        if key.current {
            return Err(Refusal::Conflict(format!("key {id} seals new links: rotate first, then revoke it")));
        }
        if key.revoked {
            return Ok(key);
        }
        let revoked = self.key_file(viewer)?.revoke(id).await?;
        drop(held);
        let words = format!("revoked key {id}: {links} links of {mails} mails on record answer 404");
        self.tell(viewer, None, "keys".to_owned(), words).await?;
        Ok(revoked)
    }

    fn key_file(&self, viewer: &Viewer) -> Result<&dyn Keys, Refusal> {
        if !viewer.rules_all() {
            return Err(Refusal::Forbidden("only a server admin may see the keys"));
        }
        self.keys.as_deref().ok_or(Refusal::Absent("this server was started without a key file"))
    }
}
