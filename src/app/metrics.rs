//! `/metrics`: what the parts counted, and what is measured when somebody asks.

use std::sync::Arc;
use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::now_ms;
use crate::admin::MetricsText;
use crate::deliver::courier;
use crate::deliver::couriers::Couriers;
use crate::notify::Notify;
use crate::queue::Queue;
use crate::store::BoxFuture;
use crate::telemetry::metrics::{Reader, UPKEEP_EVERY, describe_limits, install};
use crate::{listener, relay, web};

/// The disk may be asked this long; then the rest is told without it.
const DISK_MAX: Duration = Duration::from_secs(5);

/// Everything that is measured only when asked for.
pub(super) struct Gauges {
    reader: Reader,
    queue: Queue,
    couriers: Arc<Couriers>,
    site: Arc<web::Counters>,
    notify: Arc<Notify>,
}

/// Begins to count and declares every metric. `None` when this process counts elsewhere already.
pub(super) fn begin() -> Option<Reader> {
    let reader = install()?;
    describe_limits();
    relay::describe_metrics();
    courier::describe_metrics();
    listener::describe_metrics();
    crate::acme::describe_metrics();
    crate::notify::describe_metrics();
    describe();
    Some(reader)
}

/// Keeps what was sampled small, until `stop`.
pub(super) fn keep_small(tasks: &mut JoinSet<()>, reader: Reader, mut stop: watch::Receiver<bool>) {
    tasks.spawn(async move {
        let ended = stop.wait_for(|stop| *stop);
        let mut ended = std::pin::pin!(ended);
        loop {
            tokio::select! {
                _ = &mut ended => return,
                () = tokio::time::sleep(UPKEEP_EVERY) => reader.upkeep(),
            }
        }
    });
}

impl Gauges {
    pub(super) fn new(
        reader: Reader,
        queue: Queue,
        couriers: Arc<Couriers>,
        site: Arc<web::Counters>,
        notify: Arc<Notify>,
    ) -> Gauges {
        Gauges { reader, queue, couriers, site, notify }
    }
}

impl MetricsText for Gauges {
    fn text(&self) -> BoxFuture<'_, String> {
        Box::pin(async move {
            counter!("waxseal_events_recorded_total").absolute(self.site.recorded());
            counter!("waxseal_events_lost_total").absolute(self.site.lost());
            counter!("waxseal_events_withheld_total").absolute(self.site.withheld());
            counter!("waxseal_bad_tokens_total").absolute(self.site.bad_tokens());
            counter!("waxseal_bad_tokens_limited_total").absolute(self.site.limited());
            gauge!("waxseal_queue_mails").set(number(self.queue.depth() as u64));
            gauge!("waxseal_upstream_down").set(number(self.couriers.down() as u64));
            gauge!("waxseal_feed_streams").set(number(self.notify.feed().listeners() as u64));
            ask_outbox(&self.notify).await;
            if tokio::time::timeout(DISK_MAX, ask_disk(&self.queue)).await.is_err() {
                tracing::warn!("the spool's disk does not answer: its metrics are old");
            }
            self.reader.text()
        })
    }
}

async fn ask_outbox(notify: &Notify) {
    match tokio::time::timeout(DISK_MAX, notify.depth()).await {
        Ok(Ok(depth)) => {
            gauge!("waxseal_webhook_events_waiting").set(number(depth.waiting));
            gauge!("waxseal_webhook_events_failed").set(number(depth.failed));
            gauge!("waxseal_notice_lines_waiting").set(number(depth.lines));
        }
        Ok(Err(error)) => tracing::warn!(%error, "the number of events for webhooks is unknown"),
        Err(_) => tracing::warn!("the history's disk does not answer: its metrics are old"),
    }
}

async fn ask_disk(queue: &Queue) {
    let oldest_ms = queue.oldest_ms().await.map_or(0, |at_ms| now_ms().saturating_sub(at_ms));
    gauge!("waxseal_queue_oldest_seconds").set(number(u64::try_from(oldest_ms).unwrap_or(0)) / 1_000.0);
    match queue.space().await {
        Ok((free_bytes, _)) => gauge!("waxseal_spool_free_bytes").set(number(free_bytes)),
        Err(error) => tracing::warn!(%error, "the spool's free space is unknown"),
    }
    match queue.corrupt_count().await {
        Ok(count) => gauge!("waxseal_spool_corrupt_mails").set(number(count as u64)),
        Err(error) => tracing::warn!(%error, "the number of unreadable mails is unknown"),
    }
}

/// Prometheus knows one kind of number; beyond 2^53 the last digits go.
fn number(value: u64) -> f64 {
    value as f64
}

fn describe() {
    describe_counter!("waxseal_events_recorded_total", "Opens and clicks that are on record.");
    describe_counter!("waxseal_events_lost_total", "Opens and clicks that were not recorded; they were served.");
    describe_counter!(
        "waxseal_events_withheld_total",
        "Opens and clicks of people who do not want to be recorded; they were served and nothing was kept."
    );
    describe_counter!("waxseal_bad_tokens_total", "Requests with a token that does not open.");
    describe_counter!(
        "waxseal_bad_tokens_limited_total",
        "Of these, requests from a source that had shown too many and was told to wait."
    );
    describe_gauge!("waxseal_queue_mails", "Mails that wait to be delivered.");
    describe_gauge!(
        "waxseal_queue_oldest_seconds",
        Unit::Seconds,
        "Age of the oldest mail that waits; 0 when none does."
    );
    describe_gauge!("waxseal_feed_streams", "Pages that are shown events as they come.");
    describe_gauge!("waxseal_webhook_events_waiting", "Events that wait for a webhook to take them.");
    describe_gauge!("waxseal_webhook_events_failed", "Events that no webhook took in time; they can be replayed.");
    describe_gauge!("waxseal_notice_lines_waiting", "Events that wait for the next notice by mail.");
    describe_gauge!(
        "waxseal_upstream_down",
        "Upstreams known to be unreachable, the server's and organisations' own, and own ones that the configuration lost."
    );
    describe_gauge!("waxseal_spool_free_bytes", Unit::Bytes, "Room on the file system of the spool.");
    describe_gauge!("waxseal_spool_corrupt_mails", "Unreadable mails in spool/corrupt: somebody must look.");
}
