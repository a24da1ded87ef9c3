//! The recorder behind every counter of the program, and its text for Prometheus.
//!
//! A metric is declared, with its help text, in the file that moves it; a name ends in its unit, a counter's in `_total`.
//! **Invariant:** labels are words of ours, never of a client or a mail, so that nothing from outside makes a new series
//! and nothing personal is in the text. Names and labels are constants: counting allocates nothing.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{counter, describe_counter};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

/// Upper bounds, in seconds, of everything that is measured in time: from a server next door to the longest wait for a dot.
const BUCKETS_SECS: &[f64] = &[0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 60.0, 300.0, 600.0];
/// How often samples of times are folded into their buckets while nobody asks; between two they are kept one by one.
pub const UPKEEP_EVERY: Duration = Duration::from_secs(5);

static INSTALLED: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// Counts that somebody met a limit: one of `config.toml`'s by its key without `_max`, or a bound that has no key.
/// docs/OPERATE.md lists them all.
pub fn limit_met(limit: &'static str) {
    counter!("waxseal_limits_met_total", "limit" => limit).increment(1);
}

/// Declares what this file counts.
pub fn describe_limits() {
    describe_counter!("waxseal_limits_met_total", "Limits that were met, by the limit.");
}

/// Reads what was counted.
#[derive(Clone)]
pub struct Reader {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// Begins to count, once for the process; further calls give the same reader. `None` when another recorder counts already
/// (a program that uses this library) or the buckets are wrong.
pub fn install() -> Option<Reader> {
    let installed = INSTALLED.get_or_init(|| {
        let suffix = Matcher::Suffix("_seconds".to_owned());
        let recorder = PrometheusBuilder::new().set_buckets_for_metric(suffix, BUCKETS_SECS).ok()?.build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(recorder).ok().map(|()| handle)
    });
    installed.clone().map(|handle| Reader { handle })
}

impl Reader {
    /// Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> String {
        self.handle.render()
    }

    /// Folds samples into their buckets; to be called every [`UPKEEP_EVERY`], for they would fill the memory.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

/// Runs this on a runtime of one thread, and tells which limits were met meanwhile and how often; nobody else's count.
#[cfg(test)]
pub(crate) fn limits_met_in(work: impl Future<Output = ()>) -> Vec<(String, u64)> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(work));
    let text = recorder.handle().render();
    let lines =
        text.lines().filter_map(|line| line.strip_prefix("waxseal_limits_met_total{limit=\"")?.split_once("\"} "));
    lines.map(|(limit, count)| (limit.to_owned(), count.parse().unwrap())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_in_the_text() {
        let reader = install().unwrap();
        assert!(install().is_some(), "a second start in one process gets the same");
        metrics::describe_counter!("waxseal_trial_total", "Only a test.");
        metrics::counter!("waxseal_trial_total", "outcome" => "good").increment(2);
        metrics::histogram!("waxseal_trial_seconds").record(0.03);
        reader.upkeep();
        let text = reader.text();
        for line in [
            "# HELP waxseal_trial_total Only a test.",
            "# TYPE waxseal_trial_total counter",
            "waxseal_trial_total{outcome=\"good\"} 2",
            "waxseal_trial_seconds_bucket{le=\"0.02\"} 0",
            "waxseal_trial_seconds_bucket{le=\"0.05\"} 1",
            "waxseal_trial_seconds_count 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
