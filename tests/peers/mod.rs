//! Real clients and servers (ignored by default: they must be installed).
