//! `/api/v1/feed`: events as they happen, as `text/event-stream`.
//!
//! `id` is a [`Mark`]: a browser that comes back says the last one (`Last-Event-ID`) and gets what it missed, at most
//! [`REPLAY_MAX`], and how what it has was judged meanwhile; if that is not all, it is told to reload. **Invariants:** each event
//! is looked at with the viewer's eyes; a stream ends with its session or key, with its hour, and when its reader is slow,
//! whose connection is then closed; an open page does not by itself keep a session alive.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::Frame;
use serde::Deserialize;
use tokio::sync::mpsc;
use utoipa::IntoParams;

use super::activity::line;
use crate::admin::Actions;
use crate::admin::actions::activity::{ACTIVITY_ROWS_MAX, ActivityRow, live_row};
use crate::admin::api::{Api, Problem, Query};
use crate::admin::http::HangUp;
use crate::admin::viewer::Viewer;
use crate::notify::feed::{Ended, Heard, Listener, Place};
use crate::settings::User;
use crate::settings::access::Purpose;

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
    /// The last judgement the caller knows of, the second number of an `id`.
    judged: Option<i64>,
}

/// How far a reader is: `42.7` is the event 42 and the judgement 7. The second was not always there, and may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    event: i64,
    judged: Option<i64>,
}

impl Mark {
    fn parse(text: &str) -> Option<Mark> {
        match text.split_once('.') {
            Some((event, judged)) => Some(Mark { event: event.parse().ok()?, judged: Some(judged.parse().ok()?) }),
            None => Some(Mark { event: text.parse().ok()?, judged: None }),
        }
    }
}

/// Events as they happen, as server-sent events; `Last-Event-ID` brings what was missed.
#[utoipa::path(get, path = "/api/v1/feed", tag = "events", operation_id = "feed",
    params(Asked, ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(in crate::admin) async fn stream(
    caller: Api,
    Query(asked): Query<Asked>,
    hang_up: HangUp,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let listener = caller.actions.listen()?;
    let last = headers.get("last-event-id").and_then(|value| Mark::parse(value.to_str().ok()?));
    let asked = asked.after.map(|event| Mark { event, judged: asked.judged });
    let (pieces, body) = mpsc::channel(PIECES_MAX);
    let actions = Arc::clone(&caller.actions);
    let user = caller.viewer.login().and_then(|login| actions.settings.snapshot().users.get(login).cloned());
    let stream = Stream {
        actions,
        caller,
        user,
        pieces,
        hang_up,
        has: last.or(asked),
        replayed_to: None,
        last: None,
        judged: 0,
    };
    tokio::spawn(stream.run(listener));
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (X_ACCEL_BUFFERING, HeaderValue::from_static("no")),
    ];
    Ok((head, Body::new(Pieces(body))).into_response())
}

struct Stream {
    actions: Arc<Actions>,
    caller: Api,
    /// Who listens, as they were when they began; `None`: the owner of the machine.
    user: Option<User>,
    pieces: mpsc::Sender<Bytes>,
    hang_up: HangUp,
    /// What the reader came with; `None`: from now on.
    has: Option<Mark>,
    /// Up to here they got everything, and what comes is not sent again.
    replayed_to: Option<i64>,
    /// The last event that they have, as far as they know.
    last: Option<i64>,
    /// The last judgement they know of.
    judged: i64,
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
                    Ok(heard) => self.pass_on(&heard).await?,
                    Err(Ended::Behind) => {
                        // What was left out comes with the next connection; this one may be stuck.
                        self.hang_up.now();
                        return Err(Over);
                    }
                    Err(Ended::Closed) => return Err(Over),
                },
                _ = looking.tick() => {
                    if !self.is_still_let_in() {
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

    async fn pass_on(&mut self, heard: &Heard) -> Result<(), Over> {
        self.judged = self.judged.max(heard.judged);
        let Some(row) = live_row(self.viewer(), &heard.entry) else { return Ok(()) };
        if heard.changed {
            let id = self.last.map_or_else(String::new, |last| id(last, self.judged));
            return self.send(changed(&row, &id)).await;
        }
        if self.replayed_to.is_some_and(|event| row.sequence <= event) {
            return Ok(());
        }
        self.last = Some(row.sequence);
        self.send(happened(&row, self.judged)).await
    }

    /// What the reader missed, up to where the listener begins: how what they have is judged now, and what came.
    async fn replay(&mut self, position: Place) -> Result<(), Over> {
        self.judged = position.judged;
        let Some(Mark { event: sent, judged }) = self.has else { return Ok(()) };
        self.last = Some(sent);
        let unread = |error| {
            tracing::warn!(%error, "a live feed cannot read what it missed");
            Over
        };
        let anew = self.actions.judged_since(self.viewer(), sent, judged).await.map_err(unread)?;
        let missed = self.actions.activity(self.viewer(), Some(sent), None, REPLAY_MAX).await.map_err(unread)?;
        let Some(anew) = anew.filter(|_| missed.len() < REPLAY_MAX as usize) else {
            return self.send("event: reload\ndata: {}\n\n".to_owned()).await;
        };
        for (number, row) in (1..).zip(&anew) {
            // With the last one the reader has them all.
            let id = if number == anew.len() { id(sent, self.judged) } else { String::new() };
            self.send(changed(row, &id)).await?;
        }
        for row in missed.iter().filter(|row| row.sequence <= position.event) {
            self.last = Some(row.sequence);
            self.send(happened(row, self.judged)).await?;
        }
        self.replayed_to = Some(position.event.max(sent));
        Ok(())
    }

    fn is_still_let_in(&self) -> bool {
        // Whoever owns the machine has no login that could end.
        let Some(user) = &self.user else { return *self.viewer() == Viewer::Operator };
        let snapshot = self.actions.settings.snapshot();
        let viewer = self.actions.viewer_of(user, self.viewer().author());
        let seen_now = match (&self.caller.session, &self.caller.key) {
            (Some(session), _) => {
                let login = self.actions.sessions().login_of(session, Instant::now());
                (login.as_deref() == Some(user.login.as_str()) && !self.actions.factor_missing(user)).then_some(viewer)
            }
            (None, Some(key)) => match &key.purpose {
                Purpose::Api { scopes, expires_at_ms, .. } => {
                    let is_over = expires_at_ms.is_some_and(|at_ms| at_ms <= jiff::Timestamp::now().as_millisecond());
                    let is_known = snapshot.credentials.get(&key.id()) == Some(key);
                    (is_known && !is_over).then(|| viewer.with_key(scopes.clone()))
                }
                Purpose::Mail => None,
            },
            (None, None) => None,
        };
        // What they may see may be less by now.
        seen_now.as_ref() == Some(self.viewer()) && snapshot.users.get(&user.login) == Some(user)
    }

    fn viewer(&self) -> &Viewer {
        &self.caller.viewer
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

fn happened(row: &ActivityRow, judged: i64) -> String {
    format!("{}event: activity\ndata: {}\n\n", id(row.sequence, judged), json(row))
}

/// It is no news: its id, if any, says which event is the last that the reader has.
fn changed(row: &ActivityRow, id: &str) -> String {
    format!("{id}event: change\ndata: {}\n\n", json(row))
}

/// Only of events that the reader sees: who is counted by the day must not be seen to come by a number that grows.
fn id(event: i64, judged: i64) -> String {
    format!("id: {event}.{judged}\n")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_as_browsers_say_them() {
        for (text, expected) in [
            ("42.7", Some((42, Some(7)))),
            ("0.0", Some((0, Some(0)))),
            // before there was a second number, or without one
            ("42", Some((42, None))),
            ("", None),
            ("42.", None),
            (".7", None),
            ("42.7.1", None),
            ("x", None),
        ] {
            assert_eq!(Mark::parse(text), expected.map(|(event, judged)| Mark { event, judged }), "{text}");
        }
    }
}
