//! Reading a message: room in memory before octets, and a pace the client must keep.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use super::super::capacity::{NoRoom, Room, Sender};
use super::super::limit_met;
use super::super::transport::READ_BYTES;
use super::Conn;
use crate::settings::Submitter;
use crate::smtp::Reply;
use crate::smtp::session::{Action, Input, Wait};

/// Of the message that is being read.
pub(super) struct Body {
    /// What is set aside for it.
    pub(super) room: Option<Room>,
    /// There was no more room: what follows is thrown away.
    abandoned: bool,
    /// When the pace is looked at next.
    pub(super) window_end: Instant,
    /// Octets since the last look.
    pub(super) window_bytes: u64,
}

impl Body {
    /// No message.
    pub(super) fn none(now: Instant) -> Body {
        Body { room: None, abandoned: false, window_end: now, window_bytes: 0 }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Conn<S> {
    /// Before 354: room for what the client says it will send, so that where there is none it has sent nothing in vain. Its word
    /// costs it nothing, but takes only its own share.
    pub(super) async fn open_body(&mut self, declared: Option<u64>) -> Input<'static, Submitter> {
        let declared = declared.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        let bytes = declared.min(self.options.session.message_bytes_max) + READ_BYTES;
        let room = self.room(bytes).await;
        let granted = room.is_some();
        self.body = Body { room, ..Body::none(Instant::now() + self.options.data_window) };
        Input::Room(granted)
    }

    /// Before each read of a message: room for one read more. Grows by doubling.
    pub(super) async fn more_room(&mut self) -> bool {
        let kept = self.session.body_bytes();
        let have = self.body.room.as_ref().map_or(0, Room::bytes);
        if self.body.abandoned || kept + READ_BYTES <= have {
            return true;
        }
        let started = Instant::now();
        let largest = self.options.session.message_bytes_max + READ_BYTES;
        let wanted = (have * 2).min(largest).max(kept + READ_BYTES);
        let more = self.room(wanted - have).await;
        self.body.window_end += started.elapsed(); // it was we who paused
        match (&mut self.body.room, more) {
            (Some(room), Some(more)) => room.add(more),
            (_, more) => {
                self.body.abandoned = more.is_none();
                self.body.room = more;
            }
        }
        !self.body.abandoned
    }

    async fn room(&mut self, bytes: usize) -> Option<Room> {
        let login = self.session.submitter().and_then(|submitter| submitter.login.as_deref());
        let sender = Sender::of(login, self.peer);
        match self.shared.capacity.room(&sender, bytes, self.options.room_wait_max).await {
            Ok(room) => return Some(room),
            Err(NoRoom::OfSender) => {
                limit_met("in_flight_bytes_per_sender");
                tracing::warn!(login, "no room for more mail of one sender in flight");
            }
            Err(NoRoom::OfAll) => {
                limit_met("in_flight_bytes");
                tracing::warn!("no room for another message in flight");
            }
        }
        None
    }

    /// A deadline has passed: of a message it is only the moment to look at the pace.
    pub(super) fn out_of_time(&mut self) -> Action<Submitter> {
        let enough = self.options.data_bytes_per_sec_min.saturating_mul(self.options.data_window.as_secs());
        let in_body = self.session.wait() == Wait::Body;
        if in_body && self.body.window_bytes >= enough && Instant::now() < self.session_end {
            self.body.window_bytes = 0;
            self.body.window_end = Instant::now() + self.options.data_window;
            return Action::Read;
        }
        limit_met(match (Instant::now() < self.session_end, self.session.wait()) {
            (false, _) => "session_secs",
            (_, Wait::Body) => "data_bytes_per_sec",
            (_, Wait::Line) => "command_secs",
            (_, Wait::Idle) => "idle_secs",
        });
        Action::Close(Some(Reply::timed_out()))
    }
}
