//! What tests share: a running relay, a scripted upstream, temporary folders.

pub(crate) mod certificate;
pub(crate) mod upstream;
