//! `[acme]` at work: what is ordered, who answers the CA, and who shows what comes.

use std::sync::Arc;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::acme::{Acme, Options, Patience, door, status_in};
use crate::config::{AcmeConfig, Config};
use crate::deliver::tls::Roots;
use crate::health::Check;
use crate::health::order::{Order, judge};
use crate::listener::Shared;

/// What the config says is to be ordered.
pub(super) fn open(config: &Config) -> anyhow::Result<Option<Arc<Acme>>> {
    let Some(acme) = &config.acme else { return Ok(None) };
    let options = Options {
        directory: acme.directory.clone(),
        contacts: acme.contacts.clone(),
        domains: acme.domains.clone(),
        roots: acme.ca_file.clone().map_or(Roots::System, Roots::File),
        folder: acme.folder.clone(),
        proof: acme.proof,
        patience: Patience::default(),
    };
    let opened = Acme::open(options, Timestamp::now().as_second());
    opened.map(|acme| Some(Arc::new(acme))).with_context(|| format!("cannot use {}", acme.folder.display()))
}

/// How the order stands, as it is on disk: the same for the server and for a command beside it. Blocks.
pub(super) fn standing(config: &AcmeConfig, now: Timestamp) -> Check {
    let order = status_in(&config.folder).map(|status| Order {
        directory: config.directory.clone(),
        domains: status.domains,
        not_after_secs: status.not_after_secs,
        next_try_secs: status.next_try_secs,
        failures: status.failures,
        last_error: status.last_error,
        last_error_secs: status.last_error_secs,
    });
    judge(order.as_ref(), now.as_second())
}

/// Opens the door for the CA, where there is to be one, and orders when it is time.
pub(super) async fn begin(
    tasks: &mut JoinSet<()>,
    config: &Config,
    acme: &Arc<Acme>,
    shared: &Arc<Shared>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    if let Some(addr) = config.acme.as_ref().and_then(|acme| acme.listen) {
        let socket = super::bind(addr, "acme.listen").await?;
        tasks.spawn(door::serve(socket, acme.challenges(), stop.clone()));
    }
    let (acme, shared) = (Arc::clone(acme), Arc::clone(shared));
    tasks.spawn(async move {
        let installed = move || show(&shared);
        acme.run(installed, stop).await;
    });
    Ok(())
}

/// New connections are shown the new certificate.
fn show(shared: &Shared) {
    let Some(tls) = &shared.tls else { return };
    if let Err(error) = tls.reload_if_changed() {
        tracing::error!(%error, "the new certificate cannot be used; the old one stays in use: {error}");
    }
}
