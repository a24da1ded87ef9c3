//! Handing a mail to the backend, and what becomes of the client meanwhile.
//!
//! **Invariant:** once begun, taking a mail runs to its end in a task of its own, whatever the client does.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;

use super::super::capacity::Room;
use super::super::{Backend, ClientGone, Lease, Submission};
use super::{Conn, End};
use crate::message::Mail;
use crate::settings::Submitter;
use crate::smtp::Reply;
use crate::smtp::session::Incoming;

/// How much a client may pipeline behind a final dot while it waits for our answer.
const HELD_BYTES_MAX: usize = 64 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Conn<S> {
    /// Hands the mail to the backend and waits for its word, with an eye on the client.
    pub(super) async fn deliver(&mut self, incoming: Incoming<Submitter>) -> Result<Reply, End> {
        let client_gone = ClientGone::default();
        let submission = submission(incoming, self.peer, client_gone.clone(), self.lease.clone());
        let mut room = self.body.room.take();
        if let Some(room) = &mut room {
            room.shrink_to(submission.mail.raw.len());
        }
        let backend = Arc::clone(&self.shared.backend);
        let mut task = tokio::spawn(accept(backend, submission, room).in_current_span());
        self.unanswered = Some(client_gone);
        let deadline = Instant::now() + self.options.accept_max;
        let mut watching = true;
        loop {
            let session = &mut self.session;
            tokio::select! {
                answer = timeout_at(deadline, &mut task) => return match answer {
                    Ok(Ok(reply)) => Ok(reply),
                    Ok(Err(error)) => {
                        tracing::error!(%error, "taking a mail ended in a panic");
                        Ok(Reply::internal_error())
                    }
                    Err(_) => Err(End::NoAnswer),
                },
                read = self.transport.read_with(|octets| { session.hold(octets); octets.len() }), if watching => {
                    // A client that has pipelined QUIT and shut its side down still waits for our replies.
                    let still_listens = matches!(read, Ok(more) if more > 0 || self.session.held_bytes() > 0);
                    let ended = matches!(read, Ok(0) | Err(_));
                    if !still_listens {
                        self.client_left();
                    }
                    watching = !ended && self.session.held_bytes() < HELD_BYTES_MAX;
                }
            }
        }
    }

    /// Tells whoever keeps the last mail's [`ClientGone`] that its answer was not seen.
    pub(super) fn client_left(&mut self) {
        if let Some(client_gone) = &self.unanswered {
            client_gone.mark();
        }
    }
}

fn submission(incoming: Incoming<Submitter>, peer: IpAddr, client_gone: ClientGone, lease: Lease) -> Submission {
    let Incoming { transaction, raw, bare_newlines, who, helo, protocol } = incoming;
    let mail = Mail { envelope: transaction.into(), raw };
    Submission { mail, submitter: who, peer, helo, protocol, bare_newlines, client_gone, lease }
}

/// Owns the mail and its room in memory until the backend has answered.
async fn accept(backend: Arc<dyn Backend>, submission: Submission, room: Option<Room>) -> Reply {
    let reply = backend.accept(submission).await;
    drop(room);
    reply
}
