//! Whether everything works, as far as it is the viewer's business.
//!
//! **Invariant:** a server admin sees all; an organisation's admin sees its tracking host, its domains, its webhooks and
//! its own upstream, or whether the server's is there; a sender sees nothing.

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::admin::{Glance, HealthKeeper};
use crate::health::Report;
use crate::settings::OrgName;

impl Actions {
    /// Whether this viewer has a report at all.
    pub fn has_health(&self, viewer: &Viewer) -> bool {
        self.health.is_some() && (viewer.rules_all() || viewer.org_ruled().is_some())
    }

    /// What was seen last of what is this viewer's business, at once, while the next look goes on behind it.
    ///
    /// # Errors
    /// As [`Actions::health`].
    pub fn health_glance(&self, viewer: &Viewer) -> Result<Glance, Refusal> {
        let (keeper, org) = self.health_of(viewer)?;
        let glance = keeper.glance(org.cloned());
        Ok(Glance { report: glance.report.map(|report| seen_by(org, report)), ..glance })
    }

    /// Looks at everything that is this viewer's business. Takes some seconds where somebody does not answer.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a sender; [`Refusal::Absent`] where nobody looks.
    pub async fn health(&self, viewer: &Viewer) -> Result<Report, Refusal> {
        let (keeper, org) = self.health_of(viewer)?;
        Ok(seen_by(org, keeper.look(org.cloned()).await))
    }

    /// Who looks, and at whose part; `None`: at everything.
    fn health_of<'a>(&'a self, viewer: &'a Viewer) -> Result<(&'a dyn HealthKeeper, Option<&'a OrgName>), Refusal> {
        let keeper = self.health.as_deref().ok_or(Refusal::Absent("this server does not look at itself"))?;
        match viewer.org_ruled() {
            _ if viewer.rules_all() => Ok((keeper, None)),
            Some(org) => Ok((keeper, Some(org))),
            None => Err(Refusal::Forbidden("how the server does is its administrators' business")),
        }
    }
}

fn seen_by(org: Option<&OrgName>, report: Report) -> Report {
    match org {
        Some(org) => report.of_org(org),
        None => report,
    }
}
