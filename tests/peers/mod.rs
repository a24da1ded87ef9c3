//! Real clients and servers (ignored by default: they must be installed).

mod smtp_sink;

mod browser;
mod clients;
mod hrefs;
mod mailbox;
mod outsiders;
mod passthrough;
mod pictures;
mod places;
mod real_browser;
mod seven_bit;
mod signatures;
mod webhooks;
