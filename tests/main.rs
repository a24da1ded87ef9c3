//! Tests of the whole, one binary. `support` first; then conversations, golden messages, bad configs, stories, invariants, real peers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod configs;
mod corpus;
mod dialogues;
mod faults;
mod invariants;
mod messages;
mod peers;
mod replay;
mod scenarios;
mod support;
