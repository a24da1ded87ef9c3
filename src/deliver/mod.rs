//! One attempt upstream, and the verdict per recipient.
