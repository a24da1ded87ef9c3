//! Real clients and servers (ignored by default: they must be installed).

mod smtp_sink;

mod clients;
mod places;
mod real_browser;
mod seven_bit;
