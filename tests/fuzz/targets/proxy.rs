//! The PROXY header: the same answer however the octets arrive, and none of what follows is taken.
#![no_main]

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, ReadBuf};

/// Version 1's line, and version 2's header with what it may announce.
const HEADER_BYTES_MAX: usize = 16 + 2048;

fuzz_target!(|octets: &[u8]| {
    let (whole, left) = read(octets, usize::MAX);
    let (slow, left_slow) = read(octets, 1);
    assert_eq!(whole, slow);
    assert_eq!(left, left_slow);
    assert!(octets.len() - left <= HEADER_BYTES_MAX);
    if whole.is_ok() {
        let header = &octets[..octets.len() - left];
        let with_more = [header, b"\r\nPROXY UNKNOWN\r\n"].concat();
        assert_eq!(read(&with_more, usize::MAX), (whole, with_more.len() - header.len()));
    }
});

/// The answer, and how many octets are left.
fn read(octets: &[u8], piece: usize) -> (Result<Option<std::net::IpAddr>, String>, usize) {
    let mut stream = Pieces { rest: octets, piece };
    let said = {
        let future = pin!(waxseal::proxy_header(&mut stream));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(said) => said,
            Poll::Pending => panic!("it waits for what is there"),
        }
    };
    (said, stream.rest.len())
}

/// A stream that gives at most so many octets at once.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, later) = self.rest.split_at(self.rest.len().min(self.piece).min(to.remaining()));
        to.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}
