//! The second factor: codes of an authenticator app, and recovery codes for the day the phone is gone.
//!
//! **Invariant:** the secret is at rest only sealed under the instance's key, for its login alone; a code is taken once, a
//! recovery code too. Setting it up and taking it away need the present password, or an admin. With it, mail programs need
//! app passwords (`store::credentials`).

use super::credentials::{no_randomness, now_ms};
use super::{Actions, PortError, Refusal};
use crate::admin::session::SessionId;
use crate::admin::totp;
use crate::admin::viewer::Viewer;
use crate::settings::User;
use crate::settings::access::SecondFactor;
use crate::store::Change;
use crate::store::credentials::{Kind, digest, groups, same};

/// Recovery codes of one set-up.
pub const RECOVERY_CODES: usize = 10;
/// Groups of four in one: 80 bits.
const RECOVERY_GROUPS: usize = 4;
/// How apps call the account.
const ISSUER: &str = "waxseal";

/// How a login's second factor stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FactorView {
    /// Unix milliseconds.
    pub since_ms: i64,
    /// Recovery codes left.
    pub recovery: usize,
}

/// A set-up that has begun: nothing of it is stored yet.
#[derive(Clone)]
pub struct SetUp {
    /// The secret, sealed: the form carries it to where it is confirmed.
    pub sealed: Vec<u8>,
    /// To be typed into the app.
    pub key: String,
    /// To be scanned: an SVG image; `None` when the login is too long for one.
    pub picture: Option<String>,
}

impl Actions {
    /// How a user's second factor stands; `None`: there is none.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the user is neither the viewer nor theirs to manage.
    pub fn second_factor(&self, viewer: &Viewer, login: &str) -> Result<Option<FactorView>, Refusal> {
        self.known_user(viewer, login)?;
        let found = self.settings.snapshot().second_factors.get(login).cloned();
        Ok(found.map(|factor| FactorView { since_ms: factor.since_ms, recovery: factor.recovery.len() }))
    }

    /// Whether a second factor is asked of this user: by the organisation, or of server admins by config.toml.
    pub fn factor_required(&self, user: &User) -> bool {
        self.logins.factor_required(user)
    }

    /// Whether this user must set one up before anything else.
    pub(in crate::admin) fn factor_missing(&self, user: &User) -> bool {
        self.factor_required(user) && !self.has_second_factor(&user.login)
    }

    pub(in crate::admin) fn has_second_factor(&self, login: &str) -> bool {
        self.settings.snapshot().second_factors.contains_key(login)
    }

    /// Begins a set-up for the viewer.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when there is one; [`Refusal::Forbidden`] for a key; [`Refusal::Port`] without keys.
    pub fn begin_second_factor(&self, viewer: &Viewer) -> Result<SetUp, Refusal> {
        let login = own_login(viewer)?;
        if self.has_second_factor(login) {
            return Err(Refusal::Conflict("there is a second factor already; take it away first".to_owned()));
        }
        let (mut secret, mut nonce) = ([0; totp::SECRET_BYTES], [0; 12]);
        getrandom::fill(&mut secret).and_then(|()| getrandom::fill(&mut nonce)).map_err(no_randomness)?;
        let sealed = self.keyring()?.load().lock_away(&purpose(login), nonce, &secret).ok_or_else(no_key)?;
        let picture = totp::picture(&totp::uri(&secret, ISSUER, login));
        Ok(SetUp { sealed, key: totp::base32(&secret), picture })
    }

    /// The same set-up again, for a form that was not right.
    ///
    /// # Errors
    /// As [`Actions::begin_second_factor`]; [`Refusal::Invalid`] when it is not the viewer's.
    pub fn resume_second_factor(&self, viewer: &Viewer, sealed: Vec<u8>) -> Result<SetUp, Refusal> {
        let login = own_login(viewer)?;
        let secret = self.unsealed(login, &sealed)?;
        let picture = totp::picture(&totp::uri(&secret, ISSUER, login));
        Ok(SetUp { sealed, key: totp::base32(&secret), picture })
    }

    /// Ends a set-up: the app shows right codes. Gives the recovery codes, to be shown once; other sessions end.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a wrong password or code; [`Refusal::Conflict`] when there is a factor already.
    pub(in crate::admin) async fn confirm_second_factor(
        &self,
        viewer: &Viewer,
        sealed: Vec<u8>,
        password: &str,
        code: &str,
        session: &SessionId,
    ) -> Result<Vec<String>, Refusal> {
        let login = self.proved(viewer, password).await?;
        let secret = self.unsealed(&login, &sealed)?;
        let held = self.changing(viewer).await;
        if self.has_second_factor(&login) {
            return Err(Refusal::Conflict("there is a second factor already; take it away first".to_owned()));
        }
        let last_step = totp::step_of(&secret, code, now_secs(), 0).ok_or_else(wrong_code)?;
        let codes = (0..RECOVERY_CODES).map(|_| groups(RECOVERY_GROUPS)).collect::<Result<Vec<_>, _>>();
        let codes = codes.map_err(no_randomness)?;
        let recovery = codes.iter().map(|code| digest(Kind::Recovery, code)).collect();
        let factor = SecondFactor { sealed_secret: sealed, last_step, recovery, since_ms: now_ms() };
        self.write(&held, Change::PutSecondFactor(login.clone(), factor)).await?;
        self.sessions().end_of(&login, Some(session));
        Ok(codes)
    }

    /// Takes a code of a login, from the app or a recovery code, once; `false`: it is wrong, or was taken before.
    ///
    /// # Errors
    /// [`Refusal::Store`]: it could not be written that it was taken, so it was not; [`Refusal::Port`] without keys.
    pub(in crate::admin) async fn take_code(&self, viewer: &Viewer, login: &str, code: &str) -> Result<bool, Refusal> {
        let held = self.changing(viewer).await;
        let Some(mut factor) = self.settings.snapshot().second_factors.get(login).cloned() else { return Ok(false) };
        let secret = self.unsealed(login, &factor.sealed_secret)?;
        let told = digest(Kind::Recovery, code);
        if let Some(step) = totp::step_of(&secret, code, now_secs(), factor.last_step) {
            factor.last_step = step;
        } else if let Some(at) = factor.recovery.iter().position(|kept| same(kept, &told)) {
            factor.recovery.remove(at);
        } else {
            return Ok(false);
        }
        self.write(&held, Change::PutSecondFactor(login.to_owned(), factor)).await?;
        Ok(true)
    }

    /// Takes the viewer's own away: with the password and a code.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for a wrong password or code; [`Refusal::Conflict`] where the organisation asks for one.
    pub async fn remove_own_second_factor(&self, viewer: &Viewer, password: &str, code: &str) -> Result<(), Refusal> {
        let login = self.proved(viewer, password).await?;
        if self.settings.snapshot().users.get(&login).is_some_and(|user| self.factor_required(user)) {
            return Err(Refusal::Conflict(
                "a second factor is asked of you: by your organisation, or of every server admin".to_owned(),
            ));
        }
        if !self.take_code(viewer, &login, code).await? {
            return Err(wrong_code());
        }
        let held = self.changing(viewer).await;
        self.write(&held, Change::RemoveSecondFactor(login)).await
    }

    /// Takes another user's away, whose phone is gone; their sessions end.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the user is not the viewer's to manage or has none; [`Refusal::Conflict`] for oneself.
    pub async fn remove_second_factor(&self, viewer: &Viewer, login: &str) -> Result<(), Refusal> {
        self.managed_user(viewer, login)?;
        if viewer.login() == Some(login) {
            return Err(Refusal::Conflict("your own second factor is on your account page".to_owned()));
        }
        viewer.in_person()?;
        let held = self.changing(viewer).await;
        if !self.has_second_factor(login) {
            return Err(Refusal::not_found("second factor of", login));
        }
        self.write(&held, Change::RemoveSecondFactor(login.to_owned())).await?;
        self.sessions().end_of(login, None);
        Ok(())
    }

    /// The viewer's own login, the password being right.
    async fn proved(&self, viewer: &Viewer, password: &str) -> Result<String, Refusal> {
        let login = own_login(viewer)?;
        match self.logins.check(login, password.as_bytes()).await? {
            Some(_) => Ok(login.to_owned()),
            None => Err(Refusal::invalid("present", "that is not the present password")),
        }
    }

    fn unsealed(&self, login: &str, sealed: &[u8]) -> Result<Vec<u8>, Refusal> {
        let opened = self.keyring()?.load().take_out(&purpose(login), sealed);
        opened.ok_or_else(|| Refusal::invalid("set-up", "it cannot be read; begin again"))
    }

    fn keyring(&self) -> Result<&arc_swap::ArcSwap<crate::token::Keyring>, Refusal> {
        let privacy = self.privacy.as_ref().ok_or(Refusal::Absent("this server was started without keys"))?;
        Ok(&privacy.keyring)
    }
}

/// What the secret is sealed for: it opens for no other login.
fn purpose(login: &str) -> String {
    format!("second factor of {login}")
}

fn own_login(viewer: &Viewer) -> Result<&str, Refusal> {
    match viewer.login() {
        Some(login) => viewer.in_person().map(|()| login),
        None => Err(Refusal::Forbidden("the operator has no second factor; name a user")),
    }
}

fn wrong_code() -> Refusal {
    Refusal::invalid("code", "it is wrong, or was used before; wait for the next one")
}

fn no_key() -> Refusal {
    Refusal::Port(PortError("every key is revoked: `waxseal keys rotate` makes a new one".to_owned()))
}

fn now_secs() -> u64 {
    u64::try_from(now_ms() / 1_000).unwrap_or_default()
}
