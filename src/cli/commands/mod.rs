//! The commands that ask the running server: one file a subject.

pub(super) mod audit;
pub(super) mod consent;
pub(super) mod doctor;
pub(super) mod events;
pub(super) mod figures;
pub(super) mod inbox;
pub(super) mod keys;
pub(super) mod link;
pub(super) mod message;
pub(super) mod org;
pub(super) mod people;
pub(super) mod privacy;
pub(super) mod queue;
pub(super) mod test_mail;
pub(super) mod user;
mod way_in;
pub(super) mod webhook;
pub(super) mod why;

use std::process::ExitCode;

use super::Place;
use super::client::Client;

/// Runs one command against the server of this place.
pub(super) fn ask(place: &Place, command: impl AsyncFnOnce(&Client) -> anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    let client = Client::at(place)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(command(&client))?;
    Ok(ExitCode::SUCCESS)
}
