//! Settings + message → a `Plan`: what to rewrite, what to leave, and why. Decide first, edit second.

pub mod links;
pub mod plan;
pub mod sender;
pub mod sensitive;
pub mod why;

pub use links::{LeftAlone, Link, LinkRules, OwnLinks};
pub use plan::{Plan, plan};
