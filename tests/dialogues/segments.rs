//! Both ends of a connection, counted: whoever sends knows when it was read, so that two writes are two reads however
//! busy the machine is.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Octets of the client's that are on their way, and those the server has taken.
#[derive(Debug, Default)]
pub(super) struct Counts {
    written: AtomicU64,
    read: AtomicU64,
    /// What the server had read when it last looked and found no more.
    read_all: AtomicU64,
    /// The server has let go of its end.
    over: AtomicBool,
}

impl Counts {
    /// Waits until the server has read all that was written and looked for more, or has gone.
    pub(super) async fn settled(&self) {
        let all_read = || self.read_all.load(Ordering::SeqCst) == self.written.load(Ordering::SeqCst);
        let mut rounds = 0_u32;
        while !all_read() && !self.over.load(Ordering::SeqCst) {
            rounds += 1;
            match rounds {
                ..50 => tokio::task::yield_now().await,
                _ => tokio::time::sleep(Duration::from_micros(200)).await,
            }
            assert!(rounds < 100_000, "the server does not read");
        }
    }
}

/// The client's end.
pub(super) struct Sending<S>(pub(super) S, pub(super) Arc<Counts>);

/// The server's end.
pub(super) struct Reading<S>(pub(super) S, pub(super) Arc<Counts>);

impl<S> Drop for Reading<S> {
    fn drop(&mut self) {
        self.1.over.store(true, Ordering::SeqCst);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sending<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sending<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let Sending(stream, counts) = self.get_mut();
        let written = Pin::new(stream).poll_write(cx, octets);
        if let Poll::Ready(Ok(count)) = written {
            counts.written.fetch_add(u64::try_from(count).unwrap(), Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Reading<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Reading(stream, counts) = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(stream).poll_read(cx, buf);
        match polled {
            Poll::Pending => counts.read_all.store(counts.read.load(Ordering::SeqCst), Ordering::SeqCst),
            Poll::Ready(_) => {
                let more = u64::try_from(buf.filled().len() - before).unwrap();
                counts.read.fetch_add(more, Ordering::SeqCst);
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Reading<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, octets)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
