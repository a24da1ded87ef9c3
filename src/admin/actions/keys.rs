//! The root keys of all links, without their secrets.

use super::{Actions, Refusal};
use crate::admin::ports::{KeyEntry, Keys};
use crate::admin::viewer::Viewer;

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

    fn key_file(&self, viewer: &Viewer) -> Result<&dyn Keys, Refusal> {
        if !viewer.rules_all() {
            return Err(Refusal::Forbidden("only a server admin may see the keys"));
        }
        self.keys.as_deref().ok_or(Refusal::Absent("this server was started without a key file"))
    }
}
