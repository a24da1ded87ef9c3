//! A form that was not accepted, shown again: with exactly what was typed and chosen, the field that is wrong named and led to.
//!
//! A template asks its [`Form`] what each field shows and gives the present value; before a refusal it is that. **Invariant:**
//! a password is never shown again, because what was posted is kept without them.

use std::borrow::Borrow;

use axum::http::StatusCode;

use super::error::PageError;
use super::labels;
use super::{Frame, Notice};
use crate::admin::Refusal;
use crate::admin::visitor::Fields;

/// What was posted, and which field is wrong, as the API names it.
pub(super) struct Again {
    fields: Fields,
    wrong: Option<&'static str>,
}

/// One form of a page, for its template.
pub(super) struct Form<'f> {
    /// Where it is sent to.
    path: String,
    again: Option<&'f Again>,
}

/// What the page of a refused form says and under which status; an error page for what is not the form's fault.
///
/// # Errors
/// The refusal, where another value in the form would not help.
pub(super) fn refused(refusal: Refusal, fields: &Fields) -> Result<(StatusCode, Option<Notice>), PageError> {
    let status = match refusal {
        Refusal::Changed => StatusCode::PRECONDITION_FAILED,
        Refusal::Invalid { .. }
        | Refusal::Managed { .. }
        | Refusal::Locked { .. }
        | Refusal::Conflict(_)
        | Refusal::Busy(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refusal::NotFound { .. }
        | Refusal::Forbidden(_)
        | Refusal::Absent(_)
        | Refusal::Store(_)
        | Refusal::Port(_) => return Err(PageError::Refused(refusal)),
    };
    Ok((status, Some(Notice::wrong(&refusal, fields))))
}

/// The field that a refusal is about, as the API names it.
pub(super) fn field_of(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Invalid { field, .. } | Refusal::Managed { field } | Refusal::Locked { field } => Some(field),
        _ => None,
    }
}

impl Again {
    /// With everything that was posted but passwords.
    pub(super) fn of(fields: &Fields, wrong: Option<&'static str>) -> Again {
        Again { fields: fields.without_secrets(), wrong }
    }
}

impl Frame {
    /// The form of this page that is sent there.
    pub(super) fn form(&self, path: impl Into<String>) -> Form<'_> {
        let path = path.into();
        let again = self.notice.as_ref().and_then(|notice| notice.again.as_ref());
        Form { again: again.filter(|again| again.fields.path() == path), path }
    }
}

impl Form<'_> {
    /// Where one address takes several forms: the one that says this.
    pub(super) fn that_says(self, name: &str, value: &str) -> Self {
        let again = self.again.filter(|again| again.fields.text(name) == value);
        Form { again, ..self }
    }

    /// It was refused and is shown again.
    pub(super) fn again(&self) -> bool {
        self.again.is_some()
    }

    /// What a field of text shows.
    pub(super) fn text<'s>(&'s self, name: &str, present: &'s str) -> &'s str {
        self.again.and_then(|again| again.fields.optional(name)).unwrap_or(present)
    }

    /// Whether this one of several is chosen.
    pub(super) fn one(&self, name: &str, value: &str, present: impl Borrow<bool>) -> bool {
        match self.again.and_then(|again| again.fields.optional(name)) {
            Some(typed) => typed == value,
            None => *present.borrow(),
        }
    }

    /// Whether a box is ticked. Of boxes that are not ticked a browser says nothing: `beside` is a field that comes with them.
    pub(super) fn ticked(&self, beside: &str, name: &str, value: &str, present: impl Borrow<bool>) -> bool {
        match self.again.filter(|again| again.fields.optional(beside).is_some()) {
            Some(again) => again.fields.all(name).contains(&value),
            None => *present.borrow(),
        }
    }

    /// The `id` of a field: several forms of one page have a login, a name, a destination.
    pub(super) fn id(&self, field: &str) -> String {
        labels::id(&self.path, field)
    }

    /// Whether this field is why it was refused.
    pub(super) fn is_wrong(&self, field: &str) -> bool {
        self.again.is_some_and(|again| again.wrong == Some(field))
    }
}
