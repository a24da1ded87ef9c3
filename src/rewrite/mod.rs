//! `Plan` + message → new bytes, or the original with a reason.
