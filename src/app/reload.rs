//! SIGHUP: what can change while we run changes, and what cannot is named.

use std::sync::Arc;

use anyhow::Context;

use super::{App, listener_options, open_keys, orgs, relay_options, with_org_sites};
use crate::config::Config;

pub(super) async fn reload(app: &mut App, new: Config) -> anyhow::Result<Vec<String>> {
    let difference = app.config.difference(&new);
    orgs::overlay(app.open.settings.as_ref(), &new.orgs).await?;
    // With the public_url of the start: a new one waits for a restart.
    let keyring = open_keys(&app.config)?;
    app.open.keyring.store(Arc::new(with_org_sites(&app.config, keyring, app.open.settings.as_ref())?));
    app.open.ceiling.store(Arc::new(new.tracking));
    app.open.consent.store(Arc::new(new.privacy.rule()));
    crate::geo::watch::refresh(&app.open.geo).await;
    app.shared.change_options(listener_options(&new));
    if let Some(tls) = &app.shared.tls {
        tls.reload(&new.tls.certificate, &new.tls.private_key)
            .context("the certificate could not be read again; the old one stays in use")?;
    }
    let mut lines: Vec<String> = difference.live.iter().map(|line| format!("changed {line}")).collect();
    lines.extend(difference.restart.iter().map(|line| format!("needs a restart: {line}")));
    app.config.tracking = new.tracking;
    app.config.privacy = new.privacy;
    app.config.orgs = new.orgs;
    app.config.tls = new.tls;
    app.config.limits = new.limits;
    app.open.relay.change_options(relay_options(&app.config));
    Ok(lines)
}
