//! Who is logged in to the dashboard, and ending it.
//!
//! **Invariant:** a person ends their own sessions, an admin those of the users they manage, the operator all.

use std::time::Instant;

use super::{Actions, Refusal};
use crate::admin::session::{SessionId, SessionView};
use crate::admin::viewer::Viewer;
use crate::settings::access::DigestId;

impl Actions {
    /// The sessions of a user, the one used last first; `present` is marked as this one.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when the user is neither the viewer nor theirs to manage.
    pub(in crate::admin) fn sessions_of(
        &self,
        viewer: &Viewer,
        login: &str,
        present: Option<&SessionId>,
    ) -> Result<Vec<SessionView>, Refusal> {
        self.known_user(viewer, login)?;
        Ok(self.sessions().of(login, present, Instant::now()))
    }

    /// Ends one session of a user.
    ///
    /// # Errors
    /// As [`Actions::sessions_of`]; [`Refusal::NotFound`] when there is no such session.
    pub(in crate::admin) async fn end_session(
        &self,
        viewer: &Viewer,
        login: &str,
        id: DigestId,
    ) -> Result<(), Refusal> {
        let user = self.known_user(viewer, login)?;
        if !self.sessions().end_named(login, id) {
            return Err(Refusal::not_found("session", id));
        }
        self.tell(viewer, user.org, format!("user {login}"), "a session was ended".to_owned()).await
    }

    /// Ends every session of a user but `present`; how many.
    ///
    /// # Errors
    /// As [`Actions::sessions_of`].
    pub(in crate::admin) async fn end_sessions(
        &self,
        viewer: &Viewer,
        login: &str,
        present: Option<&SessionId>,
    ) -> Result<usize, Refusal> {
        let user = self.known_user(viewer, login)?;
        let ended = self.sessions().end_of(login, present);
        if ended > 0 {
            self.tell(viewer, user.org, format!("user {login}"), format!("{ended} sessions were ended")).await?;
        }
        Ok(ended)
    }
}
