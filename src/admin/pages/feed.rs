//! `/api/v1/feed`: events as they happen, as `text/event-stream`.
//!
//! `id` is the event's sequence: a browser that comes back says the last one (`Last-Event-ID`) and gets what it missed, at most
//! [`REPLAY_MAX`]; if that is not all, it is told to reload. **Invariants:** each event is looked at with the viewer's eyes; a
//! stream ends with its session, with its hour, and when its reader is slow, whose connection is then closed; an open page does
//! not by itself keep a session alive.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::activity::line;
use super::error::PageError;
use crate::admin::Site;
use crate::admin::actions::activity::{ACTIVITY_ROWS_MAX, ActivityRow, live_row};
use crate::admin::http::HangUp;
use crate::admin::visitor::Visitor;
use crate::notify::feed::{Ended, Listener};

/// Missed events that are sent again.
const REPLAY_MAX: u32 = ACTIVITY_ROWS_MAX;
/// Pieces that wait for one reader.
const PIECES_MAX: usize = 32;
/// How long a reader may take none of them.
const SLOW_MAX: Duration = Duration::from_secs(10);
/// How often the session is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Looks between two signs of life, so that no proxy takes the stream for dead: 15 s.
const LOOKS_PER_HEARTBEAT: u64 = 3;
/// Then it ends, and the browser comes back.
const STREAM_MAX: Duration = Duration::from_secs(3_600);
/// Milliseconds until a browser comes back.
const RETRY: &str = "retry: 3000\n\n";
/// nginx passes it on as it comes.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Where the page was.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct Asked {
    /// The last event the caller has; without it: from now on.
    after: Option<i64>,
}

/// Events as they happen, as server-sent events; `Last-Event-ID` brings what was missed.
#[utoipa::path(get, path = "/api/v1/feed", tag = "events", operation_id = "feed",
    params(Asked, ("Last-Event-ID" = Option<i64>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(in crate::admin) async fn stream(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
    hang_up: HangUp,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    let listener = site.actions.listen()?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    let stream = Stream { site, visitor, pieces, hang_up, sent: last.or(asked.after) };
    tokio::spawn(stream.run(listener));
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((head, Body::new(Pieces(body))).into_response())
}

struct Stream {
    site: Arc<Site>,
    visitor: Visitor,
    pieces: mpsc::Sender<Bytes>,
    hang_up: HangUp,
    /// The last event the reader has; `None`: from now on.
    sent: Option<i64>,
}

/// The stream has ended, for whatever reason.
struct Over;

impl Stream {
    async fn run(mut self, mut listener: Listener) {
        let told = tokio::time::timeout(STREAM_MAX, self.tell(&mut listener)).await;
        if told.is_err() {
            tracing::debug!("a live feed has had its time; the browser comes back");
        }
    }

    async fn tell(&mut self, listener: &mut Listener) -> Result<(), Over> {
        self.send(RETRY.to_owned()).await?;
        let position = listener.position().await.ok_or(Over)?;
        self.replay(position).await?;
        let mut looking = tokio::time::interval(LOOK_EVERY);
        let mut looks = 0_u64;
        loop {
            tokio::select! {
                heard = listener.next() => match heard {
                    Ok(heard) => {
                        let entry = &heard.entry;
                        let row = live_row(&self.visitor.viewer, entry);
                        match row.filter(|row| heard.changed || self.sent.is_none_or(|sent| row.sequence > sent)) {
                            Some(row) if heard.changed => self.send(changed(&row)).await?,
                            Some(row) => self.send(happened(&row)).await?,
                            None => {}
                        }
                    }
                    Err(Ended::Behind) => {
                        // What was left out comes with the next connection; this one may be stuck.
                        self.hang_up.now();
                        return Err(Over);
                    }
                    Err(Ended::Closed) => return Err(Over),
                },
                _ = looking.tick() => {
                    if !self.is_still_logged_in() {
                        return Err(Over);
                    }
                    if looks.is_multiple_of(LOOKS_PER_HEARTBEAT) {
                        self.send(": still here\n\n".to_owned()).await?;
                    }
                    looks += 1;
                }
            }
        }
    }

    /// What the reader missed, up to where the listener begins.
    async fn replay(&mut self, position: i64) -> Result<(), Over> {
        let Some(sent) = self.sent else { return Ok(()) };
        let missed = self.site.actions.activity(&self.visitor.viewer, Some(sent), REPLAY_MAX).await;
        let missed = missed.map_err(|error| {
            tracing::warn!(%error, "a live feed cannot read what it missed");
            Over
        })?;
        if missed.len() >= REPLAY_MAX as usize {
            return self.send("event: reload\ndata: {}\n\n".to_owned()).await;
        }
        for row in missed.iter().filter(|row| row.sequence <= position) {
            self.send(happened(row)).await?;
        }
        self.sent = Some(position.max(sent));
        Ok(())
    }

    fn is_still_logged_in(&self) -> bool {
        let Visitor { user, session, .. } = &self.visitor;
        let login = self.site.sessions().login_of(session, Instant::now());
        let known = self.site.actions.settings.snapshot().users.get(&user.login).cloned();
        login.as_deref() == Some(user.login.as_str()) && known.as_ref() == Some(user)
    }

    async fn send(&mut self, piece: String) -> Result<(), Over> {
        match tokio::time::timeout(SLOW_MAX, self.pieces.send(Bytes::from(piece))).await {
            Ok(sent) => sent.map_err(|_| Over),
            Err(_) => {
                // Its connection is stuck, and would hold its place for as long as the reader likes.
                self.hang_up.now();
                Err(Over)
            }
        }
    }
}

fn happened(row: &ActivityRow) -> String {
    format!("id: {}\nevent: activity\ndata: {}\n\n", row.sequence, json(row))
}

/// Without an id: it is no news.
fn changed(row: &ActivityRow) -> String {
    format!("event: change\ndata: {}\n\n", json(row))
}

/// JSON is on one line by itself: control characters in strings are escaped.
fn json(row: &ActivityRow) -> String {
    serde_json::to_string(&line(row)).unwrap_or_default()
}

/// Pieces as they come, as a body.
pub(super) struct Pieces(pub(super) mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
