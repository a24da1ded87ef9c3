//! `[[org]]` over the store: what the file names is the file's, the rest is the dashboard's.

use anyhow::Context;

use super::upstream::takes_sealed;
use crate::config::OrgConfig;
use crate::config::org::released;
use crate::store::audit::{Author, Via};
use crate::store::{Change, SettingsStore};

/// Makes the organisations in force durable: those of the file overlaid, those it no longer names released. The sealed password
/// of an upstream that the file no longer has goes with it.
pub(super) async fn overlay(store: &dyn SettingsStore, named: &[OrgConfig]) -> anyhow::Result<()> {
    let snapshot = store.snapshot();
    let mut changes = Vec::new();
    for config in named {
        let stored = snapshot.orgs.get(&config.name);
        let org = config.over(stored);
        if stored != Some(&org) {
            changes.push(Change::PutOrg(org));
        }
    }
    let no_longer = |name| named.iter().all(|config| &config.name != name);
    for org in snapshot.orgs.values().filter(|org| org.managed.org && no_longer(&org.name)) {
        changes.push(Change::PutOrg(released(org)));
    }
    for org in snapshot.upstream_passwords.keys() {
        let takes = |config: &OrgConfig| config.name == *org && config.upstream.as_ref().is_some_and(takes_sealed);
        if !named.iter().any(takes) {
            changes.push(Change::RemoveUpstreamPassword(org.clone()));
        }
    }
    warn_of_shared_domains(store, named);
    if changes.is_empty() {
        return Ok(());
    }
    store
        .change_by(Author::of(Via::Config), changes)
        .await
        .context("the organisations of config.toml could not be stored")
}

/// A domain with two owners lets one send as the other. The file cannot see what the dashboard made.
fn warn_of_shared_domains(store: &dyn SettingsStore, named: &[OrgConfig]) {
    let snapshot = store.snapshot();
    for config in named {
        for other in snapshot.orgs.values().filter(|org| org.name != config.name) {
            for domain in config.domains.iter().filter(|domain| other.domains.contains(domain)) {
                tracing::warn!(org = %config.name, %domain, "{domain} belongs to the organisations {} and {}: users of both may send as it", config.name, other.name);
            }
        }
    }
}
