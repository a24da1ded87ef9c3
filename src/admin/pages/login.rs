//! The login page.

use askama::Template;
use axum::response::{IntoResponse, Response};

use super::{Frame, Notice, html};

/// The form.
#[derive(Template)]
#[template(path = "login.html")]
pub(in crate::admin) struct LoginPage {
    frame: Frame,
    next: String,
    login: String,
}

impl LoginPage {
    /// With where to go next, what was typed, and why it was not accepted.
    pub(in crate::admin) fn new(next: &str, login: &str, wrong: Option<&str>) -> LoginPage {
        let notice = wrong.and_then(Notice::bad);
        LoginPage { frame: Frame::public("Log in").with(notice), next: next.to_owned(), login: login.to_owned() }
    }

    /// With what has just been done.
    pub(in crate::admin) fn after(mut self, done: Option<&str>) -> LoginPage {
        self.frame.notice = Notice::done(done).or(self.frame.notice);
        self
    }
}

impl IntoResponse for LoginPage {
    fn into_response(self) -> Response {
        html(&self)
    }
}

/// The form for the second factor.
#[derive(Template)]
#[template(path = "code.html")]
pub(in crate::admin) struct CodePage {
    frame: Frame,
    next: String,
    ticket: String,
}

impl CodePage {
    /// With where to go next, whose login it is, and why a code was not accepted.
    pub(in crate::admin) fn new(next: &str, ticket: &str, wrong: Option<&str>) -> CodePage {
        let notice = wrong.and_then(Notice::bad);
        CodePage { frame: Frame::public("Log in").with(notice), next: next.to_owned(), ticket: ticket.to_owned() }
    }
}

impl IntoResponse for CodePage {
    fn into_response(self) -> Response {
        html(&self)
    }
}

/// The form for a password of one's own, after one that was good for one login.
#[derive(Template)]
#[template(path = "choose.html")]
pub(in crate::admin) struct ChoosePage {
    frame: Frame,
    next: String,
    ticket: String,
    login: String,
}

impl ChoosePage {
    /// With where to go next, whose login it is, and why a password was not accepted.
    pub(in crate::admin) fn new(next: &str, ticket: &str, login: &str, wrong: Option<Notice>) -> ChoosePage {
        let frame = Frame::public("Choose a password").with(wrong);
        ChoosePage { frame, next: next.to_owned(), ticket: ticket.to_owned(), login: login.to_owned() }
    }
}

impl IntoResponse for ChoosePage {
    fn into_response(self) -> Response {
        html(&self)
    }
}
