//! Golden pairs: a message before and after.
