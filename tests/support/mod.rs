//! What tests share: a running relay, a scripted upstream, temporary folders.

pub(crate) mod certificate;
pub(crate) mod postfix;
pub(crate) mod relay;
pub(crate) mod unsplice;
pub(crate) mod upstream;
