//! Opening: the text in a tracked URL → whose it is and what it holds, with no look-up.
//!
//! **Invariant:** what opens was sealed here, for this site and this kind. Every other text is refused; most of them
//! before any cryptography. A text that is not the one way to write its octets is refused too (RFC 4648 §3.5).

use aes_gcm_siv::{AeadInOut as _, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::origin::strip_scheme;
use super::seal::{HEAD_BYTES, PAYLOAD_BYTES_MAX, TAG_BYTES, VERSION, encoded_len};
use super::{Keyring, Kind, MessageId, SiteId, TokenId};

/// An opened token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// What it points at.
    pub id: TokenId,
    /// What it holds.
    pub payload: Vec<u8>,
    /// The key it was sealed under.
    pub key_id: u8,
    /// The site it was sealed for.
    pub site: SiteId,
}

/// Why a text does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenError {
    /// No token: length, alphabet, a second way to write it, or an unknown version.
    Malformed,
    /// No key of that id.
    UnknownKey,
    /// Its key was revoked.
    RevokedKey,
    /// Altered, made up, of another kind, or of another site.
    NotAuthentic,
}

/// One of our own URLs, recognised in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnUrl {
    /// What it is for.
    pub kind: Kind,
    /// The opened token.
    pub opened: Opened,
}

impl Keyring {
    /// Opens a token of this site and kind.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(&self, site: SiteId, kind: Kind, text: &str) -> Result<Opened, OpenError> {
        self.open_letter(&Letter::decode(text)?, site, kind)
    }

    /// Opens a token as the site or sites of a `Host` header would; a host of nobody's is the default site's.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open_at(&self, host: Option<&str>, kind: Kind, text: &str) -> Result<Opened, OpenError> {
        let letter = Letter::decode(text)?;
        let mut outcome = Err(OpenError::NotAuthentic);
        for site in self.sites_at(host) {
            outcome = self.open_letter(&letter, site.id, kind);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Recognises one of our own URLs, at a present or former host of any site; what follows the token as query or
    /// fragment is not looked at.
    pub fn open_url(&self, url: &str) -> Option<OwnUrl> {
        let rest = strip_scheme(url)?;
        let (authority, path) = rest.split_at_checked(rest.find('/')?)?;
        let path = path.split(['?', '#']).next()?;
        let (kind, token) = [Kind::Pixel, Kind::Click, Kind::Preference].into_iter().find_map(|kind| {
            let token = path.strip_prefix(kind.path_prefix())?.strip_suffix(kind.path_suffix())?;
            Some((kind, token))
        })?;
        let opened = self.open_at(Some(authority), kind, token).ok()?;
        Some(OwnUrl { kind, opened })
    }

    fn open_letter(&self, letter: &Letter, site: SiteId, kind: Kind) -> Result<Opened, OpenError> {
        let Some(cipher) = self.cipher(site, letter.key_id) else {
            return Err(match self.is_revoked(letter.key_id) {
                true => OpenError::RevokedKey,
                false => OpenError::UnknownKey,
            });
        };
        let mut payload = letter.sealed.clone();
        let associated = [VERSION, letter.key_id, kind.octet()];
        cipher
            .decrypt_inout_detached(&Nonce::from(letter.nonce), &associated, payload.as_mut_slice().into(), &letter.tag)
            .map_err(|_| OpenError::NotAuthentic)?;
        Ok(Opened { id: id_of(letter.nonce), payload, key_id: letter.key_id, site })
    }
}

/// A token taken apart, not yet believed.
struct Letter {
    key_id: u8,
    nonce: [u8; 12],
    sealed: Vec<u8>,
    tag: Tag,
}

impl Letter {
    fn decode(text: &str) -> Result<Letter, OpenError> {
        // The first character of version 1 is an A, the second one of four: scanners' guesses end here.
        if !(encoded_len(0)..=encoded_len(PAYLOAD_BYTES_MAX)).contains(&text.len()) || !text.starts_with('A') {
            return Err(OpenError::Malformed);
        }
        let mut octets = URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError::Malformed)?;
        let (&[version, key_id], rest) = octets.split_first_chunk().ok_or(OpenError::Malformed)?;
        let (&nonce, rest) = rest.split_first_chunk().ok_or(OpenError::Malformed)?;
        let (_, &tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(OpenError::Malformed)?;
        if version != VERSION {
            return Err(OpenError::Malformed);
        }
        octets.truncate(octets.len() - TAG_BYTES);
        let sealed = octets.split_off(HEAD_BYTES);
        Ok(Letter { key_id, nonce, sealed, tag: tag.into() })
    }
}

/// Reads what [`super::seal::nonce_of`] wrote.
fn id_of(nonce: [u8; 12]) -> TokenId {
    let [a, b, c, d, e, f, g, h, r, s, l, m] = nonce;
    TokenId {
        message: MessageId(u64::from_be_bytes([a, b, c, d, e, f, g, h])),
        recipient: u16::from_be_bytes([r, s]),
        link: u16::from_be_bytes([l, m]),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::super::keyring::tests::{key, keyring, site};
    use super::*;
    use crate::token::Secret;

    const HOME: SiteId = SiteId([1; 4]);
    const ACME: SiteId = SiteId([2; 4]);
    const ID: TokenId = TokenId { message: MessageId(0x0123_4567_89ab_cdef), recipient: 0x1122, link: 0x3344 };
    const KINDS: [Kind; 3] = [Kind::Pixel, Kind::Click, Kind::Preference];

    /// Made once by an independent program (Python's `cryptography`: HKDF and AESGCMSIV) from root key 07…07. Links
    /// like these are in people's mailboxes: if one of these rows fails, a link that was sent has stopped working.
    const VECTORS: [(SiteId, Kind, &[u8], &str); 4] = [
        (HOME, Kind::Pixel, b"", "AQcBI0VniavN7xEiM0RdwjiF6TwxetqLD9Ph9WSU"),
        (
            ACME,
            Kind::Click,
            b"https://example.com/?a=1&b=2",
            "AQcBI0VniavN7xEiM0TjGVvntKG5iEeBceO96BOEiM_4UDEuO2kbpFzsfur6nnMvemQ-CFD96BpKfw",
        ),
        (
            HOME,
            Kind::Click,
            b"http://xn--bcher-kva.example/%C3%A9",
            "AQcBI0VniavN7xEiM0QPM-9SInMWEOZh57mQqSrH2ichK9IGj3fo4qrBZURTcrcPdSs_cSGFr9TisMoi6WTJAN4",
        ),
        (
            ACME,
            Kind::Preference,
            b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f",
            "AQcBI0VniavN7xEiM0QsdEh_h7AdgOL1Cs1_QqfAhPqGN76SaPhLzrentMYGWA",
        ),
    ];

    #[test]
    fn tokens_of_today_open_for_ever() {
        for (site, kind, payload, text) in VECTORS {
            assert_eq!(keyring().sealer(site, 7).unwrap().seal(kind, ID, payload), text);
            let opened = keyring().open(site, kind, text).unwrap();
            assert_eq!(opened, Opened { id: ID, payload: payload.to_vec(), key_id: 7, site });
        }
    }

    #[test]
    fn a_token_is_of_one_kind_one_site_and_one_key() {
        for (home, kind, payload, text) in VECTORS {
            for other in KINDS.into_iter().filter(|other| *other != kind) {
                assert_eq!(keyring().open(home, other, text), Err(OpenError::NotAuthentic));
            }
            let elsewhere = if home == HOME { ACME } else { HOME };
            assert_eq!(keyring().open(elsewhere, kind, text), Err(OpenError::NotAuthentic));
            assert_eq!(keyring().open(SiteId([9; 4]), kind, text), Err(OpenError::UnknownKey));
            let sites = || keyring().sites().to_vec();
            let without = Keyring::new(vec![key(0)], sites()).unwrap();
            assert_eq!(without.open(home, kind, text), Err(OpenError::UnknownKey));
            let changed = crate::token::RootKey { secret: Secret([8; 32]), ..key(7) };
            let changed = Keyring::new(vec![changed], sites()).unwrap();
            assert_eq!(changed.open(home, kind, text), Err(OpenError::NotAuthentic));
            assert_eq!(
                changed.open(home, kind, &changed.sealer(home, 7).unwrap().seal(kind, ID, payload)).unwrap().id,
                ID
            );
        }
    }

    /// A rotation, a new site and a new URL leave every old token as it was; a revocation does not.
    #[test]
    fn old_tokens_outlive_changes() {
        let (home, kind, _, text) = VECTORS[2];
        let changed = keyring().rotated(Secret([3; 32]), Timestamp::UNIX_EPOCH).unwrap();
        let changed = changed.with_default_url("https://new.example").unwrap();
        let changed = changed.with_site("https://other.example", &[], SiteId([5; 4])).unwrap();
        assert!(changed.open(home, kind, text).is_ok());
        for host in [Some("t.example.com"), Some("new.example"), Some("127.0.0.1:9"), None] {
            assert!(changed.open_at(host, kind, text).is_ok(), "{host:?}");
        }
        assert_eq!(changed.open_at(Some("other.example"), kind, text), Err(OpenError::NotAuthentic));
        let revoked = changed.revoked(7, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(revoked.open(home, kind, text), Err(OpenError::RevokedKey));
        assert!(revoked.sealer(home, 7).is_none());
    }

    /// Two sites may share a host name, as on two ports, or when a host passed from one to the other.
    #[test]
    fn every_site_of_a_host_is_tried() {
        let sites = vec![site(1, "https://t.example.com", true), site(2, "https://t.example.com:8443", false)];
        let ring = Keyring::new(vec![key(7)], sites).unwrap();
        for (home, kind, _, text) in VECTORS {
            assert_eq!(ring.open_at(Some("t.example.com"), kind, text).unwrap().site, home);
        }
    }

    /// Rows: too short, too long, padding, a character outside the alphabet, bits no octet holds, another version.
    #[test]
    fn what_is_no_token_is_refused_cheaply() {
        let (_, _, _, text) = VECTORS[2];
        assert_ne!(text.len() % 4, 0, "this row has bits to spare in its last character");
        let cut = text.len() - 1;
        let spare = char::from(text.as_bytes()[cut] + 1);
        let start = text.get(..cut).unwrap();
        let rows = [
            String::new(),
            "A".repeat(encoded_len(0) - 1),
            "A".repeat(encoded_len(PAYLOAD_BYTES_MAX) + 1),
            format!("{text}="),
            format!("{start}+"),
            format!("{}é", start.get(1..).unwrap()),
            format!("{start}{spare}"),
            text.replacen('A', "B", 1),
            text.replacen("AQ", "Ag", 1),
        ];
        for row in rows {
            assert_eq!(keyring().open(HOME, Kind::Click, &row), Err(OpenError::Malformed), "{row}");
        }
    }

    /// What a quoted reply may have made of our URLs, then what is not ours.
    #[test]
    fn own_urls_are_recognised() {
        let ring = keyring().with_default_url("http://new.example:8025").unwrap();
        let pixel = keyring().sealer(HOME, 7).unwrap().url(Kind::Pixel, ID, b"");
        let click = keyring().sealer(ACME, 7).unwrap().url(Kind::Click, ID, b"https://example.com/");
        assert!(pixel.starts_with("https://t.example.com/i/") && pixel.ends_with(".gif"), "{pixel}");
        for (url, kind) in [
            (pixel.clone(), Some(Kind::Pixel)),
            (pixel.replace("https://t.example.com", "HTTP://NEW.example:8025"), Some(Kind::Pixel)),
            (format!("{pixel}?x=1"), Some(Kind::Pixel)),
            (click.clone(), Some(Kind::Click)),
            (format!("{click}#top"), Some(Kind::Click)),
            (click.replace("https://", "https://user@"), None),
            (click.replace("t.acme.example:8443", "t.example.com"), None),
            (click.replace("/c/", "/p/"), None),
            (click.replace("https:", "ftp:"), None),
            (format!("https://evil.example/?u={click}"), None),
            (click.strip_suffix(char::is_alphanumeric).unwrap_or("").to_owned(), None),
            ("https://t.example.com".to_owned(), None),
        ] {
            assert_eq!(ring.open_url(&url).map(|own| own.kind), kind, "{url}");
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens(
            message: u64, recipient: u16, link: u16, which in 0..3usize, at_home: bool,
            payload in proptest::collection::vec(any::<u8>(), 0..=PAYLOAD_BYTES_MAX),
        ) {
            let ring = keyring();
            let id = TokenId { message: MessageId(message), recipient, link };
            let (kind, site) = (KINDS[which], if at_home { HOME } else { ACME });
            let sealer = ring.sealer(site, 0).unwrap();
            let text = sealer.seal(kind, id, &payload);
            prop_assert_eq!(text.len(), encoded_len(payload.len()));
            prop_assert_eq!(sealer.url(kind, id, &payload).len(), sealer.url_len(kind, payload.len()));
            prop_assert_eq!(ring.open(site, kind, &text), Ok(Opened { id, payload, key_id: 0, site }));
        }

        #[test]
        fn any_changed_character_is_refused(at in 0..60usize, to in "[A-Za-z0-9_-]") {
            let (home, kind, _, text) = VECTORS[1];
            let mut forged = text.to_owned();
            forged.replace_range(at..=at, &to);
            prop_assert_eq!(keyring().open(home, kind, &forged).is_ok(), forged == text);
        }

        #[test]
        fn any_text_gets_an_answer(text in ".{0,200}", url in "(https://t.example.com)?/?[icp]?/?.{0,80}") {
            prop_assert!(keyring().open(HOME, Kind::Click, &text).is_err());
            prop_assert!(keyring().open_url(&url).is_none());
        }
    }
}
