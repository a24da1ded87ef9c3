//! Real clients and servers (ignored by default: they must be installed).

mod smtp_sink;

mod activity;
mod api_contract;
mod authority;
mod browser;
mod clients;
mod dashboard;
mod hrefs;
mod mailbox;
mod outsiders;
mod passthrough;
mod pictures;
mod places;
mod real_browser;
mod seven_bit;
mod signatures;
mod systemd;
mod test_mail;
mod tls_scanner;
mod webhooks;
