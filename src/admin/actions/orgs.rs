//! Organisations and their switches, never above the ceiling.

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::settings::{Managed, Mode, Org, OrgName, Quotes, Tracking, VisibleUrls};
use crate::store::Change;

pub use super::org_events::EventsPatch;
pub use super::org_tracking::RulesPatch;
use super::org_tracking::lists_fit;

/// Most excluded hosts and most domains of one org.
pub const HOSTS_MAX: usize = 1000;

/// An org with what is in force for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgView {
    /// As stored, with what the config file manages.
    pub org: Org,
    /// `[tracking]` of config.toml.
    pub ceiling: Tracking,
    /// The ceiling narrowed by the org's choice.
    pub in_force: Tracking,
    /// How many users it has.
    pub users: usize,
    /// The viewer may change it.
    pub may_change: bool,
}

/// What to change; `None` leaves as it is. Of the switches, `Some(None)` means: follow the ceiling, live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrgPatch {
    /// The pixel.
    pub opens: Option<Option<Mode>>,
    /// Links in HTML.
    pub links: Option<Option<Mode>>,
    /// Links in plain text.
    pub text_links: Option<Option<bool>>,
    /// Links whose text is itself a URL.
    pub visible_urls: Option<VisibleUrls>,
    /// Our own old tracking in quotes.
    pub quotes: Option<Quotes>,
    /// Hosts never tracked.
    pub excluded_hosts: Option<Vec<String>>,
    /// Whose addresses its users may send as; for server admins.
    pub domains: Option<Vec<String>>,
    /// How its readers' events are judged, and what is kept of them.
    pub events: EventsPatch,
    /// What is never tracked, locks and shadow mode.
    pub rules: RulesPatch,
}

impl Actions {
    /// The organisations the viewer belongs to, by name.
    pub fn orgs(&self, viewer: &Viewer) -> Vec<OrgView> {
        let snapshot = self.settings.snapshot();
        let ceiling = **self.ceiling.load();
        let users = |org: &Org| snapshot.users.values().filter(|user| user.org.as_ref() == Some(&org.name)).count();
        let view = |org: &Org| OrgView {
            ceiling,
            in_force: ceiling.narrowed_by(org.choice),
            users: users(org),
            may_change: viewer.rules(&org.name),
            org: org.clone(),
        };
        snapshot.orgs.values().filter(|org| viewer.belongs_to(&org.name)).map(view).collect()
    }

    /// One organisation.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it is not there or not the viewer's.
    pub fn org(&self, viewer: &Viewer, name: &OrgName) -> Result<OrgView, Refusal> {
        let found = self.orgs(viewer).into_iter().find(|view| view.org.name == *name);
        found.ok_or_else(|| Refusal::not_found("organisation", name.as_str()))
    }

    /// Changes an organisation, all or nothing, provided that it is still as the caller has `seen` it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Forbidden`] for a sender, [`Refusal::Changed`], [`Refusal::Managed`] for a value of
    /// config.toml, [`Refusal::Invalid`] for one above the ceiling, [`Refusal::Conflict`] for another org's domain.
    pub async fn set_org(
        &self,
        viewer: &Viewer,
        name: &OrgName,
        patch: OrgPatch,
        seen: impl FnOnce(&OrgView) -> bool + Send,
    ) -> Result<OrgView, Refusal> {
        let held = self.changing(viewer).await;
        let view = self.org(viewer, name)?;
        if !view.may_change {
            return Err(Refusal::Forbidden("only an admin of the organisation may change its settings"));
        }
        if patch.domains.is_some() && !viewer.rules_all() {
            return Err(Refusal::Forbidden("only a server admin may change an organisation's domains"));
        }
        if !seen(&view) {
            return Err(Refusal::Changed);
        }
        not_managed(view.org.managed, &patch)?;
        patch.events.not_managed(view.org.managed)?;
        patch.rules.not_managed(view.org.managed)?;
        within(view.ceiling, &patch)?;
        let mut org = view.org;
        apply_switches(&mut org, &patch);
        patch.events.apply(&mut org)?;
        patch.rules.apply(&mut org)?;
        if patch.text_links == Some(Some(true)) && view.ceiling.narrowed_by(org.choice).links == Mode::Off {
            return Err(Refusal::invalid("text_links", "links in plain text need link tracking to be on"));
        }
        if let Some(hosts) = patch.excluded_hosts {
            org.excluded_hosts = hosts_fit("excluded_hosts", &hosts, HOSTS_MAX)?;
        }
        if let Some(domains) = patch.domains {
            org.domains = self.domains_fit(name, &domains)?;
        }
        lists_fit(&org)?;
        self.write(&held, Change::PutOrg(org)).await?;
        self.org(viewer, name)
    }

    fn domains_fit(&self, name: &OrgName, typed: &[String]) -> Result<Vec<String>, Refusal> {
        let domains = hosts_fit("domains", typed, HOSTS_MAX)?;
        let snapshot = self.settings.snapshot();
        let others = || snapshot.orgs.values().filter(|org| org.name != *name);
        match domains.iter().find(|domain| others().any(|org| org.domains.contains(domain))) {
            Some(taken) => Err(Refusal::Conflict(format!("{taken} belongs to another organisation"))),
            None => Ok(domains),
        }
    }
}

fn not_managed(managed: Managed, patch: &OrgPatch) -> Result<(), Refusal> {
    let rows = [
        (managed.opens && patch.opens.is_some(), "opens"),
        (managed.links && patch.links.is_some(), "links"),
        (managed.text_links && patch.text_links.is_some(), "text_links"),
        (managed.org && patch.domains.is_some(), "domains"),
        (managed.excluded_hosts && patch.excluded_hosts.is_some(), "excluded_hosts"),
    ];
    match rows.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, field)) => Err(Refusal::Managed { field }),
        None => Ok(()),
    }
}

/// Promise 10: narrowing only.
fn within(ceiling: Tracking, patch: &OrgPatch) -> Result<(), Refusal> {
    let above = |field, asked: Option<Option<Mode>>, most: Mode| match asked.flatten() {
        Some(mode) if mode > most => Err(Refusal::invalid(
            field,
            format!("{mode} is above the ceiling, which is {most}; raise [tracking] {field} in config.toml first"),
        )),
        _ => Ok(()),
    };
    above("opens", patch.opens, ceiling.opens)?;
    above("links", patch.links, ceiling.links)?;
    if patch.text_links == Some(Some(true)) && !ceiling.text_links {
        let detail = "on is above the ceiling, which is off; raise [tracking] text_links in config.toml first";
        return Err(Refusal::invalid("text_links", detail));
    }
    Ok(())
}

fn apply_switches(org: &mut Org, patch: &OrgPatch) {
    if let Some(opens) = patch.opens {
        org.choice.opens = opens;
    }
    if let Some(links) = patch.links {
        org.choice.links = links;
    }
    if let Some(text_links) = patch.text_links {
        org.choice.text_links = text_links;
    }
    if let Some(visible_urls) = patch.visible_urls {
        org.visible_urls = visible_urls;
    }
    if let Some(quotes) = patch.quotes {
        org.quotes = quotes;
    }
}

/// Host names as they are compared: lower-case A-labels, each once, in the order typed.
pub(super) fn hosts_fit(field: &'static str, typed: &[String], most: usize) -> Result<Vec<String>, Refusal> {
    let mut hosts: Vec<String> = Vec::new();
    for text in typed.iter().map(|text| text.trim().trim_end_matches('.')).filter(|text| !text.is_empty()) {
        let ascii = idna::domain_to_ascii_strict(text).ok();
        let host = ascii.ok_or_else(|| Refusal::invalid(field, format!("{text} is no host name")))?;
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    if hosts.len() > most {
        return Err(Refusal::invalid(field, format!("at most {most} are kept")));
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_lists() {
        let rows: &[(&[&str], Option<&[&str]>)] = &[
            // folded, trimmed, each once, blanks dropped
            (&["Example.COM", " example.com. ", "", "b.example"], Some(&["example.com", "b.example"])),
            (&["bücher.example"], Some(&["xn--bcher-kva.example"])),
            (&["localhost"], Some(&["localhost"])),
            // no addresses, no URLs, no blanks inside
            (&["a@b.example"], None),
            (&["https://a.example"], None),
            (&["a b.example"], None),
            (&["a..example"], None),
        ];
        for (typed, expected) in rows {
            let typed: Vec<String> = typed.iter().map(|s| s.to_string()).collect();
            let got = hosts_fit("domains", &typed, HOSTS_MAX).ok();
            assert_eq!(
                got.as_deref(),
                expected.map(|e| e.iter().map(|s| s.to_string()).collect::<Vec<_>>()).as_deref(),
                "{typed:?}"
            );
        }
    }

    #[test]
    fn the_ceiling_holds() {
        let ceiling = Tracking { opens: Mode::Aggregate, links: Mode::Off, text_links: false };
        let opens = |mode| OrgPatch { opens: Some(mode), ..OrgPatch::default() };
        let rows = [
            // at or below the ceiling, and following it
            (opens(Some(Mode::Off)), true),
            (opens(Some(Mode::Aggregate)), true),
            (opens(None), true),
            // above it
            (opens(Some(Mode::Individual)), false),
            (OrgPatch { links: Some(Some(Mode::Aggregate)), ..OrgPatch::default() }, false),
            (OrgPatch { text_links: Some(Some(true)), ..OrgPatch::default() }, false),
            (OrgPatch { text_links: Some(Some(false)), ..OrgPatch::default() }, true),
        ];
        for (patch, allowed) in rows {
            assert_eq!(within(ceiling, &patch).is_ok(), allowed, "{patch:?}");
        }
    }
}
