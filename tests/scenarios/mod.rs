//! One story a file, named by what happens.

mod command_line;
mod delivery;
pub(crate) mod first_light;
mod independent_client;
mod links_outlive_the_stores;
mod others_are_told;
mod reports;
mod upstream_without_8bitmime;
mod what_waits_is_seen;
