//! Secrets that waxseal makes up: app passwords for mail programs, API keys, links that let somebody in once.
//!
//! They are long and random, so that a plain SHA-256 is all that is kept of one: nobody counts through 120 bits.
//! **Invariant:** a secret opens what it was made for, as long as it is stored, and at most what its owner may. When it
//! was used is written at most once an hour.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::logins::{Busy, Logins};
use super::{Change, Snapshot};
use crate::settings::User;
use crate::settings::access::{Credential, DigestId, Purpose};

/// How an app password begins: its owner, and a scanner for leaked secrets, knows it by that.
pub const MAIL_PREFIX: &str = "wxm-";
/// How an API key begins.
pub const API_PREFIX: &str = "wxk_";
/// Characters of an API key that its owner is shown later: the prefix and 24 of its 256 bits.
pub const API_SHOWN_CHARS: usize = API_PREFIX.len() + 4;
/// Of the digits and letters that look alike (`0 o`, `1 l i`) only `i`.
const ALPHABET: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
/// Groups of four of an app password: 24 characters of 5 bits are 120 bits.
const GROUPS: usize = 6;
/// A use is written again after so long.
const USE_TOLD_EVERY_MS: i64 = 3_600_000;
/// How long a login waits for that to be written.
const USE_WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// What a made-up secret is for: one for mail is none for the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An app password: letters and digits in groups, to be typed if need be.
    Mail,
    /// An API key.
    Api,
    /// The secret of a link.
    Link,
    /// A recovery code of a second factor.
    Recovery,
}

/// A secret as it was made; shown once, stored never.
#[derive(Clone)]
pub struct Minted {
    /// In clear.
    pub secret: String,
    /// What is stored.
    pub digest: [u8; 32],
}

impl std::fmt::Debug for Minted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Minted(…)")
    }
}

/// Makes a secret up.
///
/// # Errors
/// The system gives no randomness.
pub fn mint(kind: Kind) -> Result<Minted, getrandom::Error> {
    let secret = match kind {
        Kind::Mail => format!("{MAIL_PREFIX}{}", groups(GROUPS)?),
        Kind::Api => format!("{API_PREFIX}{}", random_text()?),
        Kind::Link => random_text()?,
        Kind::Recovery => groups(GROUPS)?,
    };
    let digest = digest(kind, &secret);
    Ok(Minted { secret, digest })
}

/// So many groups of four characters that are told apart easily, between hyphens; 20 bits a group.
///
/// # Errors
/// The system gives no randomness.
pub fn groups(count: usize) -> Result<String, getrandom::Error> {
    let mut bytes = vec![0_u8; count * 4];
    getrandom::fill(&mut bytes)?;
    let letters: Vec<char> =
        bytes.iter().filter_map(|b| ALPHABET.get(usize::from(b % 32))).map(|b| char::from(*b)).collect();
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

/// 256 random bits, base64url.
fn random_text() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of a secret. Of what is typed by hand letters and digits count alone, so that it is right without its hyphens,
/// with blanks, or in capitals.
pub fn digest(kind: Kind, secret: &str) -> [u8; 32] {
    let plain = || secret.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    let (purpose, text) = match kind {
        Kind::Mail => ("waxseal app password v1", plain()),
        Kind::Recovery => ("waxseal recovery code v1", plain()),
        Kind::Api => ("waxseal API key v1", secret.to_owned()),
        Kind::Link => ("waxseal invitation v1", secret.to_owned()),
    };
    Sha256::new().chain_update(purpose).chain_update([0]).chain_update(text).finalize().into()
}

/// Whether two digests are the same, in constant time.
pub fn same(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.ct_eq(other).into()
}

/// A login from a mail program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailLogin {
    /// Right.
    Welcome(Box<User>),
    /// The account's password is right, and is not enough since the account has a second factor, or must have one.
    NeedsAppPassword,
    /// Wrong user or password.
    Refused,
}

impl Logins {
    /// Judges a login from a mail program: one of the user's app passwords, or the account's password while no second factor
    /// is there or asked for.
    ///
    /// # Errors
    /// [`Busy`]: not judged.
    pub async fn check_mail(&self, login: &str, password: &[u8]) -> Result<MailLogin, Busy> {
        let snapshot = self.settings.snapshot();
        if let Some((user, credential)) = app_password(&snapshot, login, password) {
            self.note_use(&snapshot, credential.id()).await;
            return Ok(MailLogin::Welcome(Box::new(user.clone())));
        }
        Ok(match self.check(login, password).await? {
            Some(user) if user.one_time => MailLogin::Refused,
            Some(user) if snapshot.second_factors.contains_key(&user.login) || self.factor_required(&user) => {
                MailLogin::NeedsAppPassword
            }
            Some(user) => MailLogin::Welcome(Box::new(user)),
            None => MailLogin::Refused,
        })
    }

    /// The API key of this text and whose it is, if it is one and has not expired at this time (Unix milliseconds).
    pub async fn check_key(&self, key: &str, now_ms: i64) -> Option<(User, Credential)> {
        let snapshot = self.settings.snapshot();
        let (user, credential) = api_key(&snapshot, key, now_ms)?;
        let found = (user.clone(), credential.clone());
        self.note_use(&snapshot, credential.id()).await;
        Some(found)
    }

    /// A use that cannot be written is no reason to turn somebody away.
    async fn note_use(&self, snapshot: &Snapshot, id: DigestId) {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        if snapshot.used.get(&id).is_some_and(|used| (0..USE_TOLD_EVERY_MS).contains(&(now_ms - used))) {
            return;
        }
        let written = self.settings.change(vec![Change::PutUse(id, now_ms)]);
        match tokio::time::timeout(USE_WRITTEN_WITHIN, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "that a credential was used could not be written: {error}"),
            Err(_) => tracing::warn!("that a credential was used is not written yet: the settings store is slow"),
        }
    }
}

fn app_password<'a>(snapshot: &'a Snapshot, login: &str, password: &[u8]) -> Option<(&'a User, &'a Credential)> {
    let text = std::str::from_utf8(password).ok()?.trim();
    let found = of_secret(snapshot, Kind::Mail, text)?;
    let user = snapshot.user_named(login)?;
    (found.purpose == Purpose::Mail && found.login == user.login).then_some((user, found))
}

fn api_key<'a>(snapshot: &'a Snapshot, key: &str, now_ms: i64) -> Option<(&'a User, &'a Credential)> {
    let found = of_secret(snapshot, Kind::Api, key)?;
    let Purpose::Api { expires_at_ms, .. } = &found.purpose else { return None };
    let user = snapshot.users.get(&found.login)?;
    expires_at_ms.is_none_or(|expires| now_ms < expires).then_some((user, found))
}

fn of_secret<'a>(snapshot: &'a Snapshot, kind: Kind, secret: &str) -> Option<&'a Credential> {
    let digest = digest(kind, secret);
    snapshot.credentials.get(&DigestId::of(&digest)).filter(|found| same(&found.digest, &digest))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::settings::Role;
    use crate::settings::access::SecondFactor;
    use crate::store::SettingsStore as _;
    use crate::store::logins::LoginOptions;
    use crate::store::memory::MemorySettings;

    async fn with_ann() -> (Arc<MemorySettings>, Logins) {
        let settings = Arc::new(MemorySettings::default());
        let logins = Logins::new(settings.clone(), LoginOptions::default()).unwrap();
        let password_hash = logins.hash("correct horse").await.unwrap();
        let ann = User::new("ann".into(), Some("acme".parse().unwrap()), Role::Sender, password_hash);
        let bob = User { login: "bob".into(), ..ann.clone() };
        settings.change(vec![Change::PutUser(ann), Change::PutUser(bob)]).await.unwrap();
        (settings, logins)
    }

    async fn given(settings: &MemorySettings, kind: Kind, purpose: Purpose) -> (String, DigestId) {
        let Minted { secret, digest } = mint(kind).unwrap();
        let credential = Credential { login: "ann".into(), name: "x".into(), purpose, digest, created_at_ms: 0 };
        let id = credential.id();
        settings.change(vec![Change::PutCredential(credential)]).await.unwrap();
        (secret, id)
    }

    fn api(expires_at_ms: Option<i64>) -> Purpose {
        Purpose::Api { shown: "wxk_".into(), scopes: BTreeSet::new(), expires_at_ms }
    }

    #[test]
    fn secrets_are_long_and_known_by_their_beginning() {
        let (mail, key) = (mint(Kind::Mail).unwrap().secret, mint(Kind::Api).unwrap().secret);
        assert!(mail.starts_with(MAIL_PREFIX) && mail.len() == 4 + 24 + 5, "{mail}");
        assert!(key.starts_with(API_PREFIX) && key.len() == 4 + 43, "{key}");
        assert_ne!(mail, mint(Kind::Mail).unwrap().secret);
        assert!(!format!("{:?}", mint(Kind::Link).unwrap()).contains(|c: char| c.is_ascii_digit()));
    }

    #[tokio::test]
    async fn an_app_password_opens_mail_for_its_owner_and_nothing_else() {
        let (settings, logins) = with_ann().await;
        let (secret, id) = given(&settings, Kind::Mail, Purpose::Mail).await;
        let is_in = async |login: &str, password: &str| matches!(logins.check_mail(login, password.as_bytes()).await.unwrap(), MailLogin::Welcome(user) if user.login == login);
        // as it was shown, without hyphens, in capitals with blanks around
        for text in [secret.clone(), secret.replace('-', ""), format!(" {} ", secret.to_uppercase())] {
            assert!(is_in("ann", &text).await, "{text}");
        }
        // by the login as it is compared
        let judged = logins.check_mail("an\u{ad}n", secret.as_bytes()).await.unwrap();
        assert!(matches!(judged, MailLogin::Welcome(user) if user.login == "ann"));
        // nobody else's, nothing shorter, nothing else
        assert!(!is_in("bob", &secret).await && !is_in("nobody", &secret).await);
        let cut: String = secret.chars().take(secret.len() - 1).collect();
        assert!(!is_in("ann", &cut).await && !is_in("ann", MAIL_PREFIX).await);
        // not the dashboard, not the API
        assert!(logins.check("ann", secret.as_bytes()).await.unwrap().is_none());
        assert!(logins.check_key(&secret, 0).await.is_none());
        // the account's password goes on
        assert!(is_in("ann", "correct horse").await);
        settings.change(vec![Change::RemoveCredential(id)]).await.unwrap();
        assert!(!is_in("ann", &secret).await, "revoked");
    }

    #[tokio::test]
    async fn with_a_second_factor_only_app_passwords_send() {
        let (settings, logins) = with_ann().await;
        let (secret, _) = given(&settings, Kind::Mail, Purpose::Mail).await;
        let factor = SecondFactor { sealed_secret: Vec::new(), last_step: 0, recovery: Vec::new(), since_ms: 0 };
        settings.change(vec![Change::PutSecondFactor("ann".into(), factor)]).await.unwrap();
        let judged = async |password: &[u8]| logins.check_mail("ann", password).await.unwrap();
        assert_eq!(judged(b"correct horse").await, MailLogin::NeedsAppPassword);
        assert_eq!(judged(b"wrong").await, MailLogin::Refused);
        assert!(matches!(judged(secret.as_bytes()).await, MailLogin::Welcome(_)));
    }

    #[tokio::test]
    async fn an_api_key_opens_the_api_until_it_expires_or_its_owner_goes() {
        let (settings, logins) = with_ann().await;
        let (forever, _) = given(&settings, Kind::Api, api(None)).await;
        let (short, _) = given(&settings, Kind::Api, api(Some(1_000))).await;
        let is_in = async |key: &str, now_ms| logins.check_key(key, now_ms).await.is_some();
        assert!(is_in(&forever, i64::MAX).await && is_in(&short, 999).await);
        assert!(!is_in(&short, 1_000).await);
        for wrong in ["", "wxk_", &forever.replace('w', "v"), forever.split_at(40).0, &forever.to_uppercase()] {
            assert!(!is_in(wrong, 0).await, "{wrong}");
        }
        assert!(matches!(logins.check_mail("ann", forever.as_bytes()).await.unwrap(), MailLogin::Refused));
        settings.change(vec![Change::RemoveUser("ann".into())]).await.unwrap();
        assert!(!is_in(&forever, 0).await);
    }

    #[tokio::test]
    async fn a_use_is_written_once_an_hour() {
        let (settings, logins) = with_ann().await;
        let (secret, id) = given(&settings, Kind::Mail, Purpose::Mail).await;
        logins.check_mail("ann", secret.as_bytes()).await.unwrap();
        let first = settings.snapshot().used[&id];
        let before = settings.snapshot();
        logins.check_mail("ann", secret.as_bytes()).await.unwrap();
        assert!(Arc::ptr_eq(&before, &settings.snapshot()), "nothing was written");
        for earlier in [first - USE_TOLD_EVERY_MS, first + USE_TOLD_EVERY_MS] {
            settings.change(vec![Change::PutUse(id, earlier)]).await.unwrap();
            logins.check_mail("ann", secret.as_bytes()).await.unwrap();
            assert!((settings.snapshot().used[&id] - first).abs() < 60_000, "an hour later, and with a clock set back");
        }
    }
}
