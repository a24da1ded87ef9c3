//! Looks from time to time whether a database has changed.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Geo;

/// How often it is looked: databases change by the week, and whoever puts a new one there waits so long at most.
pub const EVERY: Duration = Duration::from_secs(30);

/// Works until `shutdown` turns true or its sender goes.
pub async fn run(geo: Arc<Geo>, every: Duration, mut shutdown: watch::Receiver<bool>) {
    let work = async {
        loop {
            tokio::time::sleep(every).await;
            refresh(&geo).await;
        }
    };
    tokio::select! {
        () = work => {}
        ended = shutdown.wait_for(|stop| *stop) => {
            if ended.is_err() {
                tracing::debug!("whoever could ask the geo watch to stop is gone: it stops");
            }
        }
    }
}

/// Looks now, on a blocking thread.
pub async fn refresh(geo: &Arc<Geo>) {
    let geo = Arc::clone(geo);
    if let Err(error) = tokio::task::spawn_blocking(move || geo.refresh()).await {
        tracing::error!(%error, "looking at the geo database ended in a panic");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn a_new_file_is_taken_without_being_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("places.mmdb");
        let geo = Arc::new(Geo::open(std::slice::from_ref(&path)).unwrap());
        let (stop, stopped) = watch::channel(false);
        let watching = tokio::spawn(run(Arc::clone(&geo), Duration::from_millis(5), stopped));
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/geo/countries-test.mmdb");
        std::fs::copy(shipped, &path).unwrap();
        while geo.place("192.0.2.77".parse().unwrap()).country.as_deref() != Some("IT") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.send(true).unwrap();
        watching.await.unwrap();
    }
}
