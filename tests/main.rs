//! Tests of the whole, one binary. `support` first; then conversations, golden messages, bad configs, stories, invariants, real peers.

mod configs;
mod corpus;
mod dialogues;
mod faults;
mod invariants;
mod messages;
mod peers;
mod scenarios;
mod support;
