//! Golden messages: `NAME/in.eml` under `NAME/settings.toml` must become `NAME/out.eml`, for the reasons in
//! `NAME/links.txt`. `WAXSEAL_GOLDEN=write cargo test messages` writes the last two anew; review them as a diff.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::string_slice, reason = "a test that cannot go on fails")]

mod cut;
mod golden;
mod promises;
mod properties;
mod tokens;
mod unsplice;
