//! Tokens: any text is answered, only the one way to write a sealed letter opens, and it opens to what was sealed.
#![no_main]

use std::sync::LazyLock;

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use waxseal::token::{Keyring, Kind, MessageId, RootKey, Secret, Site, SiteId, TokenId};

const KINDS: [Kind; 3] = [Kind::Pixel, Kind::Click, Kind::Preference];
const HOME: SiteId = SiteId([1; 4]);
const OTHER: SiteId = SiteId([2; 4]);
const ID: TokenId = TokenId { message: MessageId(0x0102_0304_0506_0708), recipient: 9, link: 10 };

static KEYS: LazyLock<Keyring> = LazyLock::new(|| {
    let key = |id| RootKey { id, secret: Secret([id; 32]), created: Timestamp::UNIX_EPOCH, revoked: None };
    let site = |id, url: &str, default| Site { id, url: url.to_owned(), former_urls: Vec::new(), default };
    let sites = vec![site(HOME, "https://t.example", true), site(OTHER, "https://u.example", false)];
    Keyring::new(vec![key(0), key(1)], sites).expect("a keyring")
});

fuzz_target!(|octets: &[u8]| {
    if let Ok(text) = std::str::from_utf8(octets) {
        for kind in KINDS {
            reads(kind, text);
        }
        KEYS.open_url(text);
        KEYS.open_url(&format!("https://t.example/c/{text}"));
        KEYS.open_at(Some(text), Kind::Click, text).ok();
    }
    let [place, bits, payload @ ..] = octets else { return };
    sealed(usize::from(*place), *bits, &payload[..payload.len().min(2_048)]);
});

/// What opens is written in the one way there is.
fn reads(kind: Kind, text: &str) {
    let Ok(opened) = KEYS.open(HOME, kind, text) else { return };
    let sealer = KEYS.sealer(HOME, opened.key_id).expect("its key is there");
    assert_eq!(sealer.seal(kind, opened.id, &opened.payload), text);
}

/// A token opens for its kind and site; with any octet changed, for nothing.
fn sealed(place: usize, bits: u8, payload: &[u8]) {
    let kind = KINDS[place % KINDS.len()];
    let token = KEYS.sealer(HOME, 1).expect("the key is there").seal(kind, ID, payload);
    let opened = KEYS.open(HOME, kind, &token).expect("what was sealed opens");
    assert_eq!((opened.id, opened.payload.as_slice(), opened.key_id), (ID, payload, 1));
    assert!(KEYS.open(OTHER, kind, &token).is_err());
    assert!(KINDS.iter().filter(|other| **other != kind).all(|other| KEYS.open(HOME, *other, &token).is_err()));
    let mut changed = token.clone().into_bytes();
    let at = place % changed.len();
    changed[at] ^= bits;
    if let Ok(changed) = std::str::from_utf8(&changed) {
        assert_eq!(KEYS.open(HOME, kind, changed).is_ok(), changed == token);
    }
}
