//! Sealing: what, for whom and under which key → the text in a tracked URL.
//!
//! ```text
//! base64url( version 1 | key id | message 8 | recipient 2 | link 2 | AES-256-GCM-SIV(payload) n + 16 )
//! ```
//!
//! The 12 octets of the ids are the nonce; version, key id and kind are the associated data. SIV (RFC 8452), because
//! rendering a copy again repeats a nonce: with the same plaintext the token is the same, and with another, SIV leaks
//! equality only. **Invariant:** this layout never changes for version 1: links sealed with it are out there.

use aes_gcm_siv::{AeadInOut as _, Aes256GcmSiv, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Keyring, Kind, SiteId, TokenId};

/// The first octet of every token.
pub(super) const VERSION: u8 = 1;
/// Version, key id and the ids.
pub(super) const HEAD_BYTES: usize = 14;
/// The tag of RFC 8452.
pub(super) const TAG_BYTES: usize = 16;
/// The largest payload that is opened: a destination is at most 1,500 octets.
pub const PAYLOAD_BYTES_MAX: usize = 2048;

/// The length in characters of a token with a payload of so many octets.
pub const fn encoded_len(payload_bytes: usize) -> usize {
    ((HEAD_BYTES + payload_bytes + TAG_BYTES) * 4).div_ceil(3)
}

/// Seals tokens of one site under one key: both are frozen in the message record.
#[derive(Clone, Copy)]
pub struct Sealer<'a> {
    cipher: &'a Aes256GcmSiv,
    key_id: u8,
    url: &'a str,
}

impl std::fmt::Debug for Sealer<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("key_id", &self.key_id).field("url", &self.url).finish_non_exhaustive()
    }
}

impl Keyring {
    /// A sealer, or `None` when there is no such site or key, or the key is revoked: such a token would not open.
    pub fn sealer(&self, site: SiteId, key_id: u8) -> Option<Sealer<'_>> {
        Some(Sealer { cipher: self.cipher(site, key_id)?, key_id, url: &self.site(site)?.url })
    }
}

impl Sealer<'_> {
    /// The token. The same arguments give the same text, always.
    pub fn seal(&self, kind: Kind, id: TokenId, payload: &[u8]) -> String {
        let mut letter = Vec::with_capacity(HEAD_BYTES + payload.len() + TAG_BYTES);
        let nonce = nonce_of(id);
        letter.extend_from_slice(&[VERSION, self.key_id]);
        letter.extend_from_slice(&nonce);
        letter.extend_from_slice(payload);
        let (_, text) = letter.split_at_mut(HEAD_BYTES);
        let associated = [VERSION, self.key_id, kind.octet()];
        #[expect(clippy::expect_used, reason = "the only error is a plaintext over 64 GiB (RFC 8452 §6)")]
        let tag = self
            .cipher
            .encrypt_inout_detached(&Nonce::from(nonce), &associated, text.into())
            .expect("no payload is that large");
        letter.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(letter)
    }

    /// The whole URL: the site's own, the path of the kind, the token.
    pub fn url(&self, kind: Kind, id: TokenId, payload: &[u8]) -> String {
        let token = self.seal(kind, id, payload);
        [self.url, kind.path_prefix(), &token, kind.path_suffix()].concat()
    }

    /// The length in octets of [`Sealer::url`] with a payload of so many octets.
    pub fn url_len(&self, kind: Kind, payload_bytes: usize) -> usize {
        self.url.len() + kind.path_prefix().len() + encoded_len(payload_bytes) + kind.path_suffix().len()
    }
}

/// The ids as they stand in the token.
pub(super) fn nonce_of(id: TokenId) -> [u8; 12] {
    let [a, b, c, d, e, f, g, h] = id.message.0.to_be_bytes();
    let [r, s] = id.recipient.to_be_bytes();
    let [l, m] = id.link.to_be_bytes();
    [a, b, c, d, e, f, g, h, r, s, l, m]
}
