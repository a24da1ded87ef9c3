//! How to send through this server: the values in force, for this very person, and what each program does with them.

use super::Actions;
use crate::admin::clients::{self, Section, Values};
use crate::admin::setup::{DoorTls, Setup};
use crate::admin::viewer::Viewer;
use crate::settings::User;

/// What a mail program is told.
#[derive(Debug)]
pub(in crate::admin) struct SetUpView {
    /// The viewer's login; `None` for who belongs to no organisation, and so sends nothing.
    pub(in crate::admin) login: Option<String>,
    /// Whom they may send as: `…@domain` for a whole domain.
    pub(in crate::admin) senders: Vec<String>,
    /// Their programs need an app password.
    pub(in crate::admin) app_password: bool,
    /// What to know first.
    pub(in crate::admin) notes: Vec<String>,
    /// Programs of each kind.
    pub(in crate::admin) sections: Vec<Section>,
}

impl Actions {
    /// The values in force, as this viewer uses them.
    pub(in crate::admin) fn set_up(&self, viewer: &Viewer, setup: &Setup) -> SetUpView {
        let snapshot = self.settings.snapshot();
        let user = viewer.login().and_then(|login| snapshot.users.get(login));
        let org = user.and_then(|user| user.org.as_ref());
        let domains = org.and_then(|org| snapshot.orgs.get(org)).map(|org| org.domains.clone()).unwrap_or_default();
        let own = user.map(|user| user.addresses.clone()).unwrap_or_default();
        let senders = domains.into_iter().map(|domain| format!("…@{domain}")).chain(own).collect();
        // A server admin of no organisation sends nothing: the examples' login stays.
        let login = user.filter(|user| user.org.is_some()).map(|user| user.login.clone());
        let values = Values {
            host: Some(setup.host.clone()).filter(|host| !host.is_empty()),
            starttls: setup.port(DoorTls::StartTls),
            implicit: setup.port(DoorTls::Implicit),
            trusted: setup.trusted_port(),
            login: login.clone(),
        };
        let factor = |user: &User| snapshot.second_factors.contains_key(&user.login) || self.factor_required(user);
        let app_password = !setup.passthrough && user.is_some_and(factor);
        SetUpView { login, senders, app_password, notes: setup.notes(app_password), sections: clients::guide(&values) }
    }
}
