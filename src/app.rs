//! Builds the parts from `Config`, hands them out, stops them in order.
/// Builds the parts.
pub fn placeholder() {}
