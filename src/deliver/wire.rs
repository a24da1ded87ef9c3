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
        Pin::new(&mut self.stream).poll_read(&mut context, &mut buffer).is_pending()
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::{Arc, Mutex};

    /// Keeps every write apart.
    struct Recorder {
        writes: Arc<Mutex<Vec<Vec<u8>>>>,
        vectored: bool,
    }

    impl AsyncRead for Recorder {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Recorder {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
            self.writes.lock().unwrap().push(octets.to_vec());
            Poll::Ready(Ok(octets.len()))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            if !self.vectored {
                // As the default does it.
                let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
                return self.poll_write(context, first);
            }
            let joined: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            self.poll_write(context, &joined)
        }

        fn is_write_vectored(&self) -> bool {
            self.vectored
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Breaks at the first write, with words to be read.
    struct Refuser(&'static [u8]);

    impl AsyncRead for Refuser {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            buffer.put_slice(std::mem::take(&mut self.0));
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Refuser {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn what_upstream_said_before_the_pipe_broke_is_heard() {
        let minute = Duration::from_secs(60);
        for (words, code) in [(&b"552 5.3.4 too much\r\n"[..], Some(552)), (b"", None), (b"552 cut o", None)] {
            let mut wire = Wire::new(Dialed { stream: Box::new(Refuser(words)), local: true });
            let body = Body::from(Bytes::from_static(b"A: b\r\n"));
            let heard = match wire.send_message(&body, minute, Instant::now() + minute).await {
                Sent::Interrupted(reply) => Some(reply.code),
                Sent::Failed(Why::Lost(_)) => None,
                Sent::Failed(_) | Sent::Whole => panic!("neither heard nor lost"),
            };
            assert_eq!(heard, code, "{words:?}");
        }
    }

    /// Nagle's algorithm and a delayed ACK would hold a dot of its own back for 40 ms.
    #[tokio::test]
    async fn the_end_of_data_leaves_with_the_last_of_the_content() {
        let contents: [Vec<u8>; 6] = [
            b"A: b\r\n\r\nshort\r\n".to_vec(),
            b"no line end".to_vec(),
            b"large\r\n".repeat(100_000),
            // a slice per dot: exactly a batch, one less and one more
            b".\r\n".repeat(BATCH_SLICES / 2 - 1),
            b".\r\n".repeat(BATCH_SLICES / 2),
            b".\r\n".repeat(1000),
        ];
        for vectored in [true, false] {
            for content in &contents {
                let writes: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
                let stream = Box::new(Recorder { writes: writes.clone(), vectored });
                let mut wire = Wire::new(Dialed { stream, local: true });
                let body = Body::from(Bytes::from(content.clone()));
                let minute = Duration::from_secs(60);
                let sent = wire.send_message(&body, minute, Instant::now() + minute).await;
                assert!(matches!(sent, Sent::Whole));
                let writes = writes.lock().unwrap();
                let last = writes.last().unwrap();
                assert!(last.ends_with(b"\r\n.\r\n") && last.len() > 5, "{:?}", String::from_utf8_lossy(last));
                let expected: Vec<u8> = stuffed([content.as_slice()]).flatten().copied().collect();
                assert!(writes.concat() == expected);
            }
        }
    }
}
