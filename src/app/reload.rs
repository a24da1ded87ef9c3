//! SIGHUP: what can change while we run changes, and what cannot is named.

use std::sync::Arc;

use anyhow::Context;

use super::open::{open_keys, with_org_sites};
use super::{App, options, orgs, upstream};
use crate::config::Config;

pub(super) async fn reload(app: &mut App, new: Config) -> anyhow::Result<Vec<String>> {
    let difference = app.config.difference(&new);
    // Before anything changes: what cannot be made of the new file leaves all as it was.
    let upstreams = Arc::clone(&app.open.upstreams);
    let mut own = upstreams.own.lock().await;
    let sealed = app.open.settings.snapshot().upstream_passwords.clone();
    let own_ways = upstream::own_ways(&new, &own, &upstreams.seal, &sealed)?;
    orgs::overlay(app.open.settings.as_ref(), &new.orgs).await?;
    let server = app.open.couriers.ways().server.clone();
    app.open.couriers.change(upstream::ways(server, &own_ways, &app.open.settings.snapshot(), &new));
    *own = own_ways;
    // With the public_url of the start: a new one waits for a restart.
    let keyring = open_keys(&app.config)?;
    app.open.keyring.store(Arc::new(with_org_sites(&app.config, keyring, app.open.settings.as_ref())?));
    app.open.ceiling.store(Arc::new(new.tracking));
    app.open.logins.ask_admins_for_factor(new.web.admin_second_factor);
    app.open.consent.store(Arc::new(new.privacy.rule()));
    crate::geo::watch::refresh(&app.open.geo).await;
    app.shared.change_options(options::listener(&new));
    let files = if new.acme == app.config.acme { &new.tls } else { &app.config.tls };
    if let Some(tls) = &app.shared.tls {
        tls.reload(&files.certificate, &files.private_key)
            .context("the certificate could not be read again; the old one stays in use")?;
    }
    if let Some(acme) = &app.acme {
        acme.hurry();
    }
    let mut lines: Vec<String> = difference.live.iter().map(|line| format!("changed {line}")).collect();
    lines.extend(difference.restart.iter().map(|line| format!("needs a restart: {line}")));
    app.config.web.admin_second_factor = new.web.admin_second_factor;
    app.config.tracking = new.tracking;
    app.config.privacy = new.privacy;
    app.config.orgs = new.orgs;
    if new.acme == app.config.acme {
        app.config.tls = new.tls;
    }
    app.config.limits = new.limits;
    app.open.relay.change_options(options::relay(&app.config));
    app.open.config.store(Arc::new(app.config.clone()));
    Ok(lines)
}
