//! Real clients and servers (ignored by default: they must be installed).

mod smtp_sink;

mod clients;
mod seven_bit;
mod webhooks;
