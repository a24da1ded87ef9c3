//! What tests share: a running relay, a scripted upstream, temporary folders.

pub(crate) mod certificate;
pub mod postfix;
pub mod relay;
pub mod unsplice;
pub(crate) mod upstream;
