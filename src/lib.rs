//! waxseal: an SMTP relay you host yourself that tells you what happened to the mail you sent.
//!
//! A pure core (bytes in, values out: no clock, no I/O, no randomness of its own) inside a thin shell.
//! Read [`relay`] first: it is the mail path, in order. `docs/ARCHITECTURE.md` is the map, and
//! `tests/invariants/imports.rs` holds the table of who may import whom.

// core
pub mod caller;
pub mod event;
pub mod message;
pub mod policy;
pub mod rewrite;
pub mod settings;
pub mod smtp;
pub mod token;
// shell
pub mod acme;
pub mod admin;
pub mod certificate;
pub mod copies;
pub mod deliver;
pub mod geo;
pub mod health;
pub mod inbox;
pub mod listener;
pub mod notify;
pub mod proxy_protocol;
pub mod queue;
pub mod relay;
pub mod spool;
pub mod store;
pub mod telemetry;
pub mod web;
// root
pub mod app;
pub mod cli;
pub mod config;
