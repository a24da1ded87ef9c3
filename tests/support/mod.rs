//! What tests share: a running relay, a scripted upstream, temporary folders.
