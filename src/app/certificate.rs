//! Looks from time to time whether the certificate's files have changed, so that a renewal needs nobody's hand.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::listener::ServerTls;

/// Runs until `stop` turns true.
pub(super) async fn watch(tls: Arc<ServerTls>, every: Duration, mut stop: watch::Receiver<bool>) {
    let mut looks = interval(every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // A sender that went away means the same.
            _ = stop.wait_for(|stop| *stop) => return,
            _ = looks.tick() => {}
        }
        let tls = Arc::clone(&tls);
        match tokio::task::spawn_blocking(move || tls.reload_if_changed()).await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => {
                tracing::info!("the certificate's files have changed: new connections are shown the new one")
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "the certificate's files have changed and cannot be used; the old one stays in use: {error}");
            }
            Err(died) => tracing::error!(%died, "looking at the certificate's files died"),
        }
    }
}
