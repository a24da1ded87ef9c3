//! Real clients and servers (ignored by default: they must be installed).

mod smtp_sink;

mod clients;
mod outsiders;
mod passthrough;
mod seven_bit;
