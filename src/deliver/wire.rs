//! One connection's octets: commands out, replies in, the message with its last dot. Every wait has a deadline.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout_at};

use crate::message::Body;
use crate::smtp::Reply;
use crate::smtp::reply_reader::{ReplyLimits, ReplyReader};
use crate::smtp::stuff::stuffed;

use super::dial::{Dialed, Stream};
use super::fate::Why;

/// A stream and the replies read from it.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    reader: ReplyReader,
    /// No one else can read it.
    pub(super) local: bool,
}

/// How sending the message ended.
pub(super) enum Sent {
    /// All of it has left, the dot included: what follows is about the dot.
    Whole,
    /// Upstream answered before the dot; the dot has not left.
    Interrupted(Reply),
    /// It failed; the dot has not left.
    Failed(Why),
}

/// Slices handed to one write.
const BATCH_SLICES: usize = 64;
/// When writing fails, upstream may have said why just before: how long we listen for it.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl Wire {
    pub(super) fn new(dialed: Dialed) -> Wire {
        let reader = ReplyReader::new(ReplyLimits::default());
        Wire { stream: dialed.stream, reader, local: dialed.local }
    }

    /// The stream, to be wrapped in TLS. The reader ends here: nothing said in plaintext is heard inside
    /// (RFC 3207 §4.2).
    ///
    /// # Errors
    /// [`Why::Injected`] when something had been said too much.
    pub(super) fn into_stream(self) -> Result<Box<dyn Stream>, Why> {
        if self.reader.has_unread() { Err(Why::Injected) } else { Ok(self.stream) }
    }

    /// Whether upstream has said something that nobody asked for.
    pub(super) fn has_unread(&self) -> bool {
        self.reader.has_unread()
    }

    /// Called before anything is asked: what stands in the buffer now would be taken for the answer. A 421 may come at
    /// any time; anything else means that the two sides are out of step.
    ///
    /// # Errors
    /// The 421, or [`Why::OutOfTurn`].
    pub(super) async fn expect_silence(&mut self, until: Instant) -> Result<(), Why> {
        if !self.has_unread() {
            return Ok(());
        }
        match self.reply(until).await? {
            reply if reply.code == 421 => Err(Why::Reply(reply)),
            _ => Err(Why::OutOfTurn),
        }
    }

    /// Whether an idle connection may still be used: it is open and has said nothing. No wait.
    pub(super) fn is_fresh(&mut self) -> bool {
        let mut octet = [0];
        let mut buffer = ReadBuf::new(&mut octet);
        let mut context = Context::from_waker(Waker::noop());
        !self.has_unread() && Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending()
    }

    /// Sends commands. While upstream takes none, its replies are read, so that two full buffers cannot wait for each
    /// other. A connection that fails here is found out by the next [`reply`](Self::reply), which first hands out
    /// what upstream said before it hung up.
    ///
    /// # Errors
    /// [`Why::TimedOut`], or too many replies.
    pub(super) async fn send(&mut self, commands: &[u8], until: Instant) -> Result<(), Why> {
        let mut rest = commands;
        while !rest.is_empty() {
            match timeout_at(until, self.progress(&[IoSlice::new(rest)])).await.map_err(|_| Why::TimedOut)? {
                Progress::Wrote(written) => rest = rest.get(written..).unwrap_or_default(),
                Progress::Heard => {}
                Progress::Failed(why @ Why::Malformed(_)) => return Err(why),
                Progress::Failed(_) => return Ok(()),
            }
        }
        // A flush that fails is found out by the next read as well.
        match timeout_at(until, self.stream.flush()).await {
            Ok(Ok(()) | Err(_)) => Ok(()),
            Err(_) => Err(Why::TimedOut),
        }
    }

    /// The next reply.
    ///
    /// # Errors
    /// It is no reply, does not come in time, or the connection ended.
    pub(super) async fn reply(&mut self, until: Instant) -> Result<Reply, Why> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(reply) = self.reader.next_reply().map_err(Why::Malformed)? {
                return Ok(reply);
            }
            match timeout_at(until, self.stream.read(&mut chunk)).await {
                Err(_) => return Err(Why::TimedOut),
                Ok(Ok(0)) => return Err(Why::Lost("closed".to_owned())),
                Ok(Err(error)) => return Err(Why::Lost(error.kind().to_string())),
                Ok(Ok(read)) => {
                    self.reader.feed(chunk.get(..read).unwrap_or_default()).map_err(Why::Malformed)?;
                }
            }
        }
    }

    /// Sends the message in wire form. The end of DATA leaves in the same write as the last of the content: apart, it
    /// would wait for a delayed ACK. `block` bounds each write, `until` the whole.
    pub(super) async fn send_message(&mut self, body: &Body, block: Duration, until: Instant) -> Sent {
        if let Some(said) = self.said_early() {
            return said;
        }
        let chunks: Vec<&[u8]> = body.chunks.iter().map(AsRef::as_ref).collect();
        let mut slices = stuffed(chunks);
        let mut batch: Vec<&[u8]> = Vec::with_capacity(BATCH_SLICES);
        let mut slice = slices.next();
        while let Some(this) = slice {
            slice = slices.next();
            // One slice is held back for the next batch: the last one is the end of DATA, and never goes alone.
            if slice.is_some()
                && batch.len() + 1 >= BATCH_SLICES
                && let Some(stopped) = self.send_batch(&mut batch, block, until).await
            {
                return stopped;
            }
            batch.push(this);
        }
        match self.send_batch(&mut batch, block, until).await {
            Some(stopped) => stopped,
            None => self.flushed(block, until).await,
        }
    }

    /// The dot is in the stream's own buffers at least: a failure from here on is about the dot, and the next read
    /// finds it.
    async fn flushed(&mut self, block: Duration, until: Instant) -> Sent {
        match timeout_at(until.min(Instant::now() + block), self.stream.flush()).await {
            Ok(Ok(()) | Err(_)) | Err(_) => Sent::Whole,
        }
    }

    /// Writes the batch and empties it; `Some` when the message cannot go on.
    async fn send_batch(&mut self, batch: &mut Vec<&[u8]>, block: Duration, until: Instant) -> Option<Sent> {
        let joined: Vec<u8>;
        let mut slices: Vec<IoSlice<'_>> = if self.stream.is_write_vectored() {
            batch.iter().map(|slice| IoSlice::new(slice)).collect()
        } else {
            joined = batch.concat();
            vec![IoSlice::new(&joined)]
        };
        let mut left = slices.as_mut_slice();
        while !left.is_empty() {
            let block_until = until.min(Instant::now() + block);
            match timeout_at(block_until, self.progress(left)).await {
                Err(_) => return Some(Sent::Failed(Why::TimedOut)),
                Ok(Progress::Wrote(written)) => IoSlice::advance_slices(&mut left, written),
                Ok(Progress::Heard) => {
                    if let Some(said) = self.said_early() {
                        return Some(said);
                    }
                }
                Ok(Progress::Failed(why)) => return Some(self.last_words(why, until).await),
            }
        }
        batch.clear();
        None
    }

    /// A reply before the dot.
    fn said_early(&mut self) -> Option<Sent> {
        match self.reader.next_reply() {
            Ok(Some(reply)) => Some(Sent::Interrupted(reply)),
            Ok(None) => None,
            Err(malformed) => Some(Sent::Failed(Why::Malformed(malformed))),
        }
    }

    /// Servers that refuse in the middle of DATA answer and hang up; the answer is worth more than the broken pipe.
    async fn last_words(&mut self, why: Why, until: Instant) -> Sent {
        match self.reply(until.min(Instant::now() + LAST_WORDS)).await {
            Ok(reply) => Sent::Interrupted(reply),
            Err(_) => Sent::Failed(why),
        }
    }

    /// Writes some, or reads some while nothing can be written.
    async fn progress(&mut self, slices: &[IoSlice<'_>]) -> Progress {
        let mut chunk = [0; 4096];
        let mut buffer = ReadBuf::new(&mut chunk);
        let stream = &mut self.stream;
        let outcome = poll_fn(|context| {
            match Pin::new(&mut *stream).poll_write_vectored(context, slices) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(outcome) => return Poll::Ready(outcome.map(Some)),
                Poll::Pending => {}
            }
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(outcome) => Poll::Ready(outcome.map(|()| None)),
                Poll::Pending => Poll::Pending,
            }
        });
        match outcome.await {
            Ok(Some(written)) => Progress::Wrote(written),
            Ok(None) if buffer.filled().is_empty() => Progress::Failed(Why::Lost("closed".to_owned())),
            Ok(None) => match self.reader.feed(buffer.filled()) {
                Ok(()) => Progress::Heard,
                Err(malformed) => Progress::Failed(Why::Malformed(malformed)),
            },
            Err(error) => Progress::Failed(Why::Lost(error.kind().to_string())),
        }
    }
}

enum Progress {
    Wrote(usize),
    Heard,
    Failed(Why),
}
