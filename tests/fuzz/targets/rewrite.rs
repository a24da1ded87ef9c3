//! Any octets as a mail, with everything on: the rewriter keeps its promises (`tests/messages/promises.rs`).
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[path = "../../messages/promises.rs"]
mod promises;
#[path = "../../messages/tokens.rs"]
mod tokens;
#[path = "../../messages/unsplice.rs"]
mod unsplice;

fuzz_target!(|raw: &[u8]| promises::keep(&Bytes::copy_from_slice(raw)));
