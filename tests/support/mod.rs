//! What tests share: a running relay, a scripted upstream, temporary folders.

pub(crate) mod acme;
pub(crate) mod certificate;
pub(crate) mod client;
pub(crate) mod disk;
pub(crate) mod ledger;
pub(crate) mod postfix;
pub(crate) mod process;
pub(crate) mod relay;
pub(crate) mod smtp_sink;
pub(crate) mod unsplice;
pub(crate) mod upstream;
