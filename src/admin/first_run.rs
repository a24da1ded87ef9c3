//! The first account: without it nobody could log in to add one. Its password is good for one login, which sets another.

use super::secret::OneTimePassword;
use crate::settings::{Role, User};
use crate::store::logins::{Busy, Logins};
use crate::store::{Change, SettingsStore, StoreError};

/// The login of the first account.
pub const ADMIN_LOGIN: &str = "admin";

/// Why there is no first account.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FirstRunError {
    /// The settings cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The password cannot be hashed now.
    #[error(transparent)]
    Busy(#[from] Busy),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Random(getrandom::Error),
}

/// Makes the server admin [`ADMIN_LOGIN`] when there is no user at all, and gives its password, to be shown once.
/// With any user present it does nothing: an operator who removed `admin` does not find it back.
///
/// # Errors
/// [`FirstRunError`]: no account was made.
pub async fn ensure_admin(
    settings: &dyn SettingsStore,
    logins: &Logins,
) -> Result<Option<OneTimePassword>, FirstRunError> {
    if !settings.snapshot().users.is_empty() {
        return Ok(None);
    }
    let password = OneTimePassword::random().map_err(FirstRunError::Random)?;
    let hash = logins.hash(password.reveal()).await?;
    // Whoever reads the first start's output later, in a journal or over a shoulder, finds nothing that opens.
    let admin = User { one_time: true, ..User::new(ADMIN_LOGIN.to_owned(), None, Role::ServerAdmin, hash) };
    settings.change(vec![Change::PutUser(admin)]).await?;
    Ok(Some(password))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::logins::LoginOptions;
    use crate::store::memory::MemorySettings;

    #[tokio::test]
    async fn made_once_and_it_logs_in() {
        let settings = Arc::new(MemorySettings::default());
        let logins = Logins::new(settings.clone(), LoginOptions::default()).unwrap();
        let password = ensure_admin(&*settings, &logins).await.unwrap().expect("a fresh store gets an admin");
        let user = logins.check(ADMIN_LOGIN, password.reveal().as_bytes()).await.unwrap().expect("it logs in");
        assert_eq!((user.role, user.org, user.one_time), (Role::ServerAdmin, None, true));
        assert!(ensure_admin(&*settings, &logins).await.unwrap().is_none(), "only once");
    }
}
