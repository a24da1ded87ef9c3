//! Secrets at rest: sealed under a root key, for one purpose, opened by whoever has the key file.
//!
//! ```text
//! version 1 | key id | nonce 12 | AES-256-GCM-SIV(secret) n + 16      associated data: version, key id, purpose
//! ```
//!
//! **Invariant:** what was sealed for one purpose opens for no other. A revoked key still opens: revoking takes away links,
//! not the operator's own secrets.

use aes_gcm_siv::{AeadInOut as _, Aes256GcmSiv, KeyInit as _, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::keyring::derive;
use super::{Keyring, RootKey};

const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
/// HKDF's info. Never changed: what was sealed under it is on disk and in mail.
const VAULT_INFO: &[u8] = b"waxseal vault v1";

/// Where the link leads that stops notices by mail, on the tracking site.
pub const STOP_PATH: &str = "/n/";
/// What such a link is sealed for.
const STOP_PURPOSE: &str = "stop notices";

impl Keyring {
    /// The path of a link that stops the notices to a login. `nonce` is random. No name is in it.
    pub fn stop_path(&self, nonce: [u8; NONCE_BYTES], login: &str) -> Option<String> {
        let sealed = self.lock_away(STOP_PURPOSE, nonce, login.as_bytes())?;
        Some(format!("{STOP_PATH}{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// The login such a link is for; `None` when it is none of ours.
    pub fn stops(&self, path: &str) -> Option<String> {
        let sealed = URL_SAFE_NO_PAD.decode(path.strip_prefix(STOP_PATH)?).ok()?;
        String::from_utf8(self.take_out(STOP_PURPOSE, &sealed)?).ok()
    }

    /// Seals for a purpose under the key in use. `nonce` is random. `None` when every key is revoked.
    pub fn lock_away(&self, purpose: &str, nonce: [u8; NONCE_BYTES], secret: &[u8]) -> Option<Vec<u8>> {
        let id = self.current_key()?;
        let key = self.keys().iter().find(|key| key.id == id)?;
        let mut sealed = vec![VERSION, id];
        sealed.extend_from_slice(&nonce);
        let head = sealed.len();
        sealed.extend_from_slice(secret);
        let (_, text) = sealed.split_at_mut(head);
        let tag =
            cipher(key).encrypt_inout_detached(&Nonce::from(nonce), &associated(id, purpose), text.into()).ok()?;
        sealed.extend_from_slice(&tag);
        Some(sealed)
    }

    /// Opens what [`Keyring::lock_away`] sealed for this purpose; `None` for anything else.
    pub fn take_out(&self, purpose: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (&[VERSION, id], rest) = sealed.split_first_chunk::<2>()? else { return None };
        let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
        let key = self.keys().iter().find(|key| key.id == id)?;
        let mut text = text.to_vec();
        let opened = cipher(key).decrypt_inout_detached(
            &Nonce::from(*nonce),
            &associated(id, purpose),
            text.as_mut_slice().into(),
            &(*tag).into(),
        );
        opened.ok().map(|()| text)
    }
}

fn associated(key_id: u8, purpose: &str) -> Vec<u8> {
    [&[VERSION, key_id], purpose.as_bytes()].concat()
}

fn cipher(key: &RootKey) -> Aes256GcmSiv {
    Aes256GcmSiv::new(&derive(&key.secret, VAULT_INFO).into())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::token::{Secret, Site, SiteId};

    fn keyring() -> Keyring {
        let key = RootKey { id: 3, secret: Secret([9; 32]), created: Timestamp::UNIX_EPOCH, revoked: None };
        let site =
            Site { id: SiteId([1; 4]), url: "http://t.example".to_owned(), former_urls: Vec::new(), default: true };
        Keyring::new(vec![key], vec![site]).unwrap()
    }

    #[test]
    fn what_was_locked_away_is_taken_out_for_its_purpose_alone() {
        let keyring = keyring();
        let sealed = keyring.lock_away("webhook", [5; 12], b"secret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(keyring.take_out("webhook", &sealed).as_deref(), Some(&b"secret"[..]));
        assert_eq!(keyring.take_out("notices", &sealed), None);
        // Every octet counts, and nothing shorter opens.
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(keyring.take_out("webhook", &changed), None, "octet {at}");
            assert_eq!(keyring.take_out("webhook", &sealed[..at]), None, "{at} octets");
        }
    }

    #[test]
    fn a_stop_link_names_its_login_to_us_alone() {
        let keyring = keyring();
        let path = keyring.stop_path([5; 12], "ann@acme.example").unwrap();
        assert!(path.starts_with("/n/") && !path.contains("ann"));
        assert_eq!(keyring.stops(&path).as_deref(), Some("ann@acme.example"));
        let cut = path.split_at(path.len() - 2).0;
        for other in ["/n/", "/n/AAAA", "/i/x.gif", cut] {
            assert_eq!(keyring.stops(other), None, "{other}");
        }
    }

    #[test]
    fn it_opens_after_a_rotation_and_a_revocation() {
        let sealed = keyring().lock_away("webhook", [5; 12], b"secret").unwrap();
        let rotated = keyring().rotated(Secret([1; 32]), Timestamp::UNIX_EPOCH).unwrap();
        let revoked = rotated.revoked(3, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(revoked.take_out("webhook", &sealed).as_deref(), Some(&b"secret"[..]));
    }
}
