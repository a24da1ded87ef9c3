//! The mail path, in order.
