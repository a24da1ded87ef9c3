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
        let notice = wrong.map(|text| Notice { good: false, text: text.to_owned() });
        LoginPage { frame: Frame::public("Log in").with(notice), next: next.to_owned(), login: login.to_owned() }
    }
}

impl IntoResponse for LoginPage {
    fn into_response(self) -> Response {
        html(&self)
    }
}
