//! The last reports, for those who cannot wait for the next: a page shows what was seen last at once, and the next look goes on
//! behind it.
//!
//! **Invariant:** one look at a time for the same eyes, whoever asks; it serves all who ask within [`FRESH`], for a page that
//! is reloaded must not knock at upstream's door as fast. At most [`BEHIND_MAX`] looks go on behind pages.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::admin::Glance;
use crate::health::Report;
use crate::settings::OrgName;

/// How long a report is given to others who ask.
const FRESH: Duration = Duration::from_secs(3);
/// Looks behind pages at one time; who comes then sees the last report, and may come again.
const BEHIND_MAX: usize = 4;

/// Whose eyes: everything, or one organisation's part.
type Eyes = Option<OrgName>;

/// The last report of everything, and of each organisation that asked: as many as there are.
#[derive(Default)]
pub(super) struct Kept {
    last: Mutex<BTreeMap<Eyes, Arc<Last>>>,
    /// Ended with this.
    behind: Mutex<JoinSet<()>>,
}

#[derive(Default)]
struct Last {
    report: Mutex<Option<(Instant, Report)>>,
    /// Held by who looks.
    looking: Arc<tokio::sync::Mutex<()>>,
}

impl Last {
    fn report(&self) -> MutexGuard<'_, Option<(Instant, Report)>> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self) -> Option<Report> {
        self.report().as_ref().filter(|(at, _)| at.elapsed() < FRESH).map(|(_, report)| report.clone())
    }

    fn keep(&self, report: &Report) {
        *self.report() = Some((Instant::now(), report.clone()));
    }
}

impl Kept {
    fn of(&self, eyes: &Eyes) -> Arc<Last> {
        let mut all = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(eyes.clone()).or_default())
    }

    /// A fresh report: what another has just seen, or what `look` sees now.
    pub(super) async fn fresh(&self, eyes: Eyes, look: impl Future<Output = Report>) -> Report {
        let last = self.of(&eyes);
        let _one = last.looking.lock().await;
        if let Some(report) = last.fresh() {
            return report;
        }
        let report = look.await;
        last.keep(&report);
        report
    }

    /// What was seen last, at once. Unless it is fresh, `look` goes on behind it.
    pub(super) fn glance(&self, eyes: Eyes, look: impl Future<Output = Report> + Send + 'static) -> Glance {
        let last = self.of(&eyes);
        if let Some(report) = last.fresh() {
            return Glance { report: Some(report), looking: false };
        }
        let report = last.report().as_ref().map(|(_, report)| report.clone());
        let Ok(one) = Arc::clone(&last.looking).try_lock_owned() else { return Glance { report, looking: true } };
        let mut behind = self.behind.lock().unwrap_or_else(PoisonError::into_inner);
        while behind.try_join_next().is_some() {}
        let looking = behind.len() < BEHIND_MAX;
        if looking {
            behind.spawn(async move {
                last.keep(&look.await);
                drop(one);
            });
        }
        Glance { report, looking }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    fn report(at_ms: i64) -> Report {
        Report::new(at_ms, true, Vec::new())
    }

    fn at(glance: &Glance) -> Option<i64> {
        glance.report.as_ref().map(|report| report.at_ms)
    }

    /// Until somebody has answered there is nothing; then the old is shown while the new is on its way; a fresh one asks nobody.
    #[tokio::test(start_paused = true)]
    async fn the_last_is_shown_while_the_next_is_on_its_way() {
        let kept = Kept::default();
        let slow = |at_ms| async move {
            tokio::time::sleep(Duration::from_secs(8)).await;
            report(at_ms)
        };
        let glance = |at_ms| kept.glance(None, slow(at_ms));
        let first = glance(1);
        assert_eq!((at(&first), first.looking), (None, true));
        // Whoever comes meanwhile waits for the same look, and begins none.
        assert!(glance(2).looking);
        assert_eq!(kept.fresh(None, slow(3)).await.at_ms, 1);
        let second = glance(4);
        assert_eq!((at(&second), second.looking), (Some(1), false), "it is fresh");
        tokio::time::advance(FRESH).await;
        let third = glance(5);
        assert_eq!((at(&third), third.looking), (Some(1), true));
        tokio::time::sleep(Duration::from_secs(9)).await;
        assert_eq!(at(&glance(6)), Some(5));
    }

    #[tokio::test]
    async fn so_many_look_behind_pages_and_no_more() {
        let kept = Kept::default();
        let org = |n: usize| format!("org{n}").parse().ok();
        for n in 0..BEHIND_MAX {
            assert!(kept.glance(org(n), pending()).looking);
        }
        assert!(!kept.glance(org(BEHIND_MAX), pending()).looking);
        // It may be looked at all the same by one who waits.
        assert_eq!(kept.fresh(org(BEHIND_MAX), async { report(7) }).await.at_ms, 7);
    }
}
