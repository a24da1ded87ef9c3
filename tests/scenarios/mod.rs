//! One story a file, named by what happens.

mod certificate_renewed;
mod command_line;
mod consent_and_forgetting;
mod delivery;
pub(crate) mod first_light;
mod hostile_clients;
mod independent_client;
mod links_outlive_the_stores;
mod logins;
mod others_are_told;
mod passthrough;
mod readers_are_judged_as_the_org_says;
mod replies_to_tracked_mail;
mod reports;
mod service_manager;
mod the_recipient_says_no;
mod upstream_tokens;
mod upstream_without_8bitmime;
mod what_waits_is_seen;
mod what_was_not_tracked_says_so;
