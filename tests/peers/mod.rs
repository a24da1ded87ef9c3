//! Real clients and servers (ignored by default: they must be installed).

mod smtp_sink;

mod browser;
mod clients;
mod hrefs;
mod mailbox;
mod pictures;
mod seven_bit;
mod signatures;
