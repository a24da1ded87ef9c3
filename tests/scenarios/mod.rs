//! One story a file, named by what happens.

mod certificate_renewed;
mod command_line;
mod delivery;
mod first_light;
mod hostile_clients;
mod independent_client;
mod links_outlive_the_stores;
mod logins;
mod passthrough;
mod reports;
mod service_manager;
mod upstream_tokens;
mod upstream_without_8bitmime;
mod what_waits_is_seen;
