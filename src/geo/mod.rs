//! The country of a network, from a MaxMind-format database.
