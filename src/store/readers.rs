//! A few read connections, used on blocking threads behind a semaphore.
//!
//! **Invariant:** never more questions at once than connections, and none waits for its turn longer than the deadline.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use super::StoreError;
use super::column::{STORE, store_error};

/// The pool. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    path: PathBuf,
    /// `None` when the store has ended: what comes back then is closed.
    idle: Arc<Mutex<Option<Vec<Connection>>>>,
    permits: Arc<Semaphore>,
    wait: Duration,
}

impl Readers {
    /// A pool over the database at `path`, which the writer has opened. Connections are opened when first needed.
    pub(super) fn new(path: &Path, connections_max: usize, wait: Duration) -> Readers {
        Readers {
            path: path.to_owned(),
            idle: Arc::new(Mutex::new(Some(Vec::new()))),
            permits: Arc::new(Semaphore::new(connections_max)),
            wait,
        }
    }

    /// Asks one question. `at` names it in errors.
    ///
    /// # Errors
    /// [`StoreError::Busy`] after the deadline; else what the question met.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        at: &'static str,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = tokio::time::timeout(self.wait, Arc::clone(&self.permits).acquire_owned())
            .await
            .map_err(|_| StoreError::Busy { store: STORE })?
            .map_err(|_| StoreError::Closed { store: STORE })?;
        let pool = self.clone();
        let answer = tokio::task::spawn_blocking(move || {
            let answer = pool.with_connection(question);
            drop(permit);
            answer
        });
        match answer.await {
            Ok(answer) => answer.map_err(|e| store_error(at, &e)),
            Err(_) => Err(StoreError::Closed { store: STORE }),
        }
    }

    /// Closes the connections that nobody uses now, and each of the others when its question is answered.
    pub(super) fn close(&self) {
        self.permits.close();
        *self.idle() = None;
    }

    fn idle(&self) -> MutexGuard<'_, Option<Vec<Connection>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_connection<T>(&self, question: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let idle = self.idle().as_mut().and_then(Vec::pop);
        let connection = match idle {
            Some(connection) => connection,
            None => self.open()?,
        };
        let answer = question(&connection)?;
        if let Some(idle) = self.idle().as_mut() {
            idle.push(connection);
        }
        Ok(answer)
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(self.wait)?;
        Ok(connection)
    }
}
