//! The shared corpus of real mail (ignored by default: it is not part of the repository).
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod footer;
mod rewrite;
