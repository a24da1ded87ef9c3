//! The keys and the tracking sites of an instance, with every cipher derived once.
//!
//! **Invariant:** what a keyring could open, every keyring made from it by a rotation, a new site or a renamed site
//! opens too. Only `revoke` takes something away. No secret is ever in a `Debug` text.

use std::collections::{BTreeSet, HashMap};
use std::fmt;

use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use super::SiteId;
use super::origin::{BadOrigin, host_in, host_of};

/// HKDF's info before the site id. Never changed: links sealed under it are out there.
const TOKEN_INFO: &[u8] = b"waxseal token v1";
/// HKDF's info of the instance key.
const INSTANCE_INFO: &[u8] = b"waxseal instance key v1";

/// 32 random octets.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub [u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One key that tokens are sealed under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootKey {
    /// As in every token sealed under it.
    pub id: u8,
    /// The key.
    pub secret: Secret,
    /// When it was made.
    pub created: Timestamp,
    /// When it was revoked, if it was: its tokens no longer open.
    pub revoked: Option<Timestamp>,
}

/// One tracking host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Part of the derivation: one site's tokens are no other's.
    pub id: SiteId,
    /// `http(s)://host[:port]`, no trailing slash: what new links begin with.
    pub url: String,
    /// What older links begin with.
    pub former_urls: Vec<String>,
    /// Serves every host that no site names. Exactly one does.
    pub default: bool,
}

/// Why keys and sites make no keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// The text of the key file.
    #[error("line {line}: {detail}")]
    Text {
        /// From 1; 0 when no line can be named.
        line: usize,
        /// What is wrong; never the secret.
        detail: String,
    },
    /// There is no key.
    #[error("there is no [[key]]")]
    NoKey,
    /// Two keys have one id.
    #[error("key {0} is there twice")]
    KeyTwice(u8),
    /// 256 keys are there.
    #[error("there is room for 256 keys, and all are used")]
    KeysFull,
    /// The key to revoke is not there.
    #[error("there is no key {0}")]
    NoSuchKey(u8),
    /// Two sites have one id.
    #[error("site {0} is there twice")]
    SiteTwice(SiteId),
    /// None or several sites are the default.
    #[error("exactly one [[site]] must be `default = true`, not {0}")]
    NotOneDefault(usize),
    /// A site's URL.
    #[error("`{url}`: {source}")]
    Url {
        /// The text.
        url: String,
        /// What it should be.
        source: BadOrigin,
    },
}

/// Seals and opens. Immutable: a change makes a new one.
pub struct Keyring {
    keys: Vec<RootKey>,
    sites: Vec<Site>,
    default: usize,
    ciphers: HashMap<(SiteId, u8), Aes256GcmSiv>,
    /// Which sites have this host name, now or formerly.
    hosts: HashMap<String, Vec<usize>>,
    instance: InstanceKey,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.keys).field("sites", &self.sites).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Checks keys and sites and derives every cipher. The last key that is not revoked is the one in use.
    ///
    /// # Errors
    /// [`KeyringError`]: the first thing that is wrong.
    pub fn new(keys: Vec<RootKey>, sites: Vec<Site>) -> Result<Keyring, KeyringError> {
        let oldest = keys.iter().min_by_key(|key| key.id).ok_or(KeyringError::NoKey)?;
        let instance = InstanceKey::derive(&oldest.secret);
        let mut key_ids = BTreeSet::new();
        if let Some(twice) = keys.iter().find(|key| !key_ids.insert(key.id)) {
            return Err(KeyringError::KeyTwice(twice.id));
        }
        let mut site_ids = BTreeSet::new();
        if let Some(twice) = sites.iter().find(|site| !site_ids.insert(site.id)) {
            return Err(KeyringError::SiteTwice(twice.id));
        }
        let defaults: Vec<usize> = (0..).zip(&sites).filter(|(_, site)| site.default).map(|(index, _)| index).collect();
        let [default] = defaults[..] else { return Err(KeyringError::NotOneDefault(defaults.len())) };
        let hosts = hosts_of(&sites)?;
        let mut ciphers = HashMap::new();
        for key in keys.iter().filter(|key| key.revoked.is_none()) {
            for site in &sites {
                ciphers.insert((site.id, key.id), derive_cipher(&key.secret, site.id));
            }
        }
        Ok(Keyring { keys, sites, default, ciphers, hosts, instance })
    }

    /// In the order of the file; the last that is not revoked is in use.
    pub fn keys(&self) -> &[RootKey] {
        &self.keys
    }

    /// In the order of the file.
    pub fn sites(&self) -> &[Site] {
        &self.sites
    }

    /// The site by its id.
    pub fn site(&self, id: SiteId) -> Option<&Site> {
        self.sites.iter().find(|site| site.id == id)
    }

    /// The site that serves hosts of nobody's, and orgs without a host of their own.
    pub fn default_site(&self) -> Option<&Site> {
        self.sites.get(self.default)
    }

    /// The site that now has this very URL.
    pub fn site_by_url(&self, url: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.url.eq_ignore_ascii_case(url))
    }

    /// The key new tokens are sealed under; `None` when every key is revoked.
    pub fn current_key(&self) -> Option<u8> {
        self.keys.iter().rev().find(|key| key.revoked.is_none()).map(|key| key.id)
    }

    /// What keyed hashes are made with.
    pub fn instance_key(&self) -> &InstanceKey {
        &self.instance
    }

    /// The sites that serve a `Host` header: those that have or had that host name, else the default one.
    pub fn sites_at(&self, host: Option<&str>) -> impl Iterator<Item = &Site> {
        let named = host.and_then(host_in).and_then(|host| {
            let known = self.hosts.get(host);
            known.or_else(|| self.hosts.get(&host.to_ascii_lowercase()))
        });
        let fallback = std::slice::from_ref(&self.default);
        named.map_or(fallback, Vec::as_slice).iter().filter_map(|index| self.sites.get(*index))
    }

    /// With one more key, which is from now on in use.
    ///
    /// # Errors
    /// [`KeyringError::KeysFull`].
    pub fn rotated(&self, secret: Secret, created: Timestamp) -> Result<Keyring, KeyringError> {
        let used: BTreeSet<u8> = self.keys.iter().map(|key| key.id).collect();
        let next = used.last().and_then(|last| last.checked_add(1));
        let free = || (0..=u8::MAX).find(|id| !used.contains(id));
        let id = next.or_else(free).ok_or(KeyringError::KeysFull)?;
        let mut keys = self.keys.clone();
        keys.push(RootKey { id, secret, created, revoked: None });
        Keyring::new(keys, self.sites.clone())
    }

    /// With a key whose tokens no longer open.
    ///
    /// # Errors
    /// [`KeyringError::NoSuchKey`].
    pub fn revoked(&self, id: u8, at: Timestamp) -> Result<Keyring, KeyringError> {
        let mut keys = self.keys.clone();
        let key = keys.iter_mut().find(|key| key.id == id).ok_or(KeyringError::NoSuchKey(id))?;
        key.revoked.get_or_insert(at);
        Keyring::new(keys, self.sites.clone())
    }

    /// With the default site at this URL; the URL it had is kept as a former one.
    ///
    /// # Errors
    /// [`KeyringError::Url`].
    pub fn with_default_url(&self, url: &str) -> Result<Keyring, KeyringError> {
        let mut sites = self.sites.clone();
        if let Some(site) = sites.get_mut(self.default) {
            site.move_to(url);
        }
        Keyring::new(self.keys.clone(), sites)
    }

    /// With a site at this URL, which formerly was at those: the site that is there now, else one that was at one of
    /// them, else a new one with the id `fresh`.
    ///
    /// # Errors
    /// [`KeyringError::Url`], [`KeyringError::SiteTwice`] when `fresh` is taken: draw another.
    pub fn with_site(&self, url: &str, former_urls: &[String], fresh: SiteId) -> Result<Keyring, KeyringError> {
        let mut sites = self.sites.clone();
        let now = sites.iter().position(|site| site.url.eq_ignore_ascii_case(url));
        let once = || sites.iter().position(|site| !site.default && site.was_at(url, former_urls));
        let index = now.or_else(once).unwrap_or_else(|| {
            sites.push(Site { id: fresh, url: url.to_owned(), former_urls: Vec::new(), default: false });
            sites.len() - 1
        });
        if let Some(site) = sites.get_mut(index) {
            site.move_to(url);
            for former in former_urls {
                site.remember(former);
            }
        }
        Keyring::new(self.keys.clone(), sites)
    }

    /// The cipher of a site and a key that is not revoked.
    pub(super) fn cipher(&self, site: SiteId, key_id: u8) -> Option<&Aes256GcmSiv> {
        self.ciphers.get(&(site, key_id))
    }

    /// Whether this key is there but revoked.
    pub(super) fn is_revoked(&self, key_id: u8) -> bool {
        self.keys.iter().any(|key| key.id == key_id && key.revoked.is_some())
    }
}

impl Site {
    fn was_at(&self, url: &str, former_urls: &[String]) -> bool {
        let mine = |other: &str| {
            std::iter::once(&self.url).chain(&self.former_urls).any(|mine| mine.eq_ignore_ascii_case(other))
        };
        mine(url) || former_urls.iter().any(|former| mine(former))
    }

    fn move_to(&mut self, url: &str) {
        let former = std::mem::replace(&mut self.url, url.to_owned());
        self.former_urls.retain(|known| !known.eq_ignore_ascii_case(url));
        self.remember(&former);
    }

    fn remember(&mut self, former: &str) {
        let known = std::iter::once(&self.url).chain(&self.former_urls).any(|known| known.eq_ignore_ascii_case(former));
        if !known {
            self.former_urls.push(former.to_owned());
        }
    }
}

fn hosts_of(sites: &[Site]) -> Result<HashMap<String, Vec<usize>>, KeyringError> {
    let mut hosts: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, site) in sites.iter().enumerate() {
        for url in std::iter::once(&site.url).chain(&site.former_urls) {
            let host = host_of(url).map_err(|source| KeyringError::Url { url: url.clone(), source })?;
            let there = hosts.entry(host).or_default();
            if !there.contains(&index) {
                there.push(index);
            }
        }
    }
    Ok(hosts)
}

fn derive_cipher(secret: &Secret, site: SiteId) -> Aes256GcmSiv {
    let info = [TOKEN_INFO, &site.0].concat();
    Aes256GcmSiv::new(&derive(secret, &info).into())
}

pub(super) fn derive(secret: &Secret, info: &[u8]) -> [u8; 32] {
    let mut derived = [0; 32];
    #[expect(clippy::expect_used, reason = "32 octets are within HKDF-SHA256's 8,160 (RFC 5869 §2.3)")]
    Hkdf::<Sha256>::new(None, &secret.0).expand(info, &mut derived).expect("32 octets");
    derived
}

/// What keyed hashes of this instance are made with.
#[derive(Clone)]
pub struct InstanceKey(Hmac<Sha256>);

impl fmt::Debug for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstanceKey(…)")
    }
}

impl InstanceKey {
    /// From a root key.
    pub fn derive(secret: &Secret) -> InstanceKey {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length (RFC 2104 §2)")]
        InstanceKey(Hmac::new_from_slice(&derive(secret, INSTANCE_INFO)).expect("any length"))
    }

    /// HMAC-SHA256 over the parts, one after the other.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::token) fn key(id: u8) -> RootKey {
        RootKey { id, secret: Secret([id; 32]), created: Timestamp::UNIX_EPOCH, revoked: None }
    }

    pub(in crate::token) fn site(id: u8, url: &str, default: bool) -> Site {
        Site { id: SiteId([id; 4]), url: url.to_owned(), former_urls: Vec::new(), default }
    }

    pub(in crate::token) fn keyring() -> Keyring {
        let sites = vec![site(1, "https://t.example.com", true), site(2, "https://t.acme.example:8443", false)];
        Keyring::new(vec![key(0), key(7)], sites).unwrap()
    }

    fn ids_at(keyring: &Keyring, host: Option<&str>) -> Vec<u8> {
        keyring.sites_at(host).map(|site| site.id.0[0]).collect()
    }

    /// The host's name decides, without case and port; what nobody has goes to the default.
    #[test]
    fn the_host_picks_the_site() {
        for (host, site) in [
            (Some("t.example.com"), 1),
            (Some("T.ACME.example"), 2),
            (Some("t.acme.example:8443"), 2),
            (Some("t.acme.example:1"), 2),
            (Some("127.0.0.1:8025"), 1),
            (Some("t.acme.example:x"), 1),
            (Some(""), 1),
            (None, 1),
        ] {
            assert_eq!(ids_at(&keyring(), host), [site], "{host:?}");
        }
    }

    #[test]
    fn a_moved_site_keeps_its_former_hosts() {
        let moved = keyring().with_default_url("https://new.example").unwrap();
        let moved = moved.with_default_url("https://newer.example").unwrap();
        for host in ["t.example.com", "new.example", "newer.example"] {
            assert_eq!(ids_at(&moved, Some(host)), [1], "{host}");
        }
        let back = moved.with_default_url("https://t.example.com").unwrap();
        assert_eq!(back.sites()[0].former_urls, ["https://new.example", "https://newer.example"]);
    }

    /// Rows: there already; moved, known by a former URL; back again; a new one.
    #[test]
    fn a_site_is_found_before_one_is_made() {
        let former = |url: &str| vec![url.to_owned()];
        let fresh = SiteId([9; 4]);
        let keyring = keyring();
        let same = keyring.with_site("https://T.acme.example:8443", &[], fresh).unwrap();
        assert_eq!(same.sites().len(), 2);
        let moved = keyring.with_site("https://m.acme.example", &former("https://t.acme.example:8443"), fresh).unwrap();
        assert_eq!((moved.sites().len(), moved.sites()[1].url.as_str()), (2, "https://m.acme.example"));
        assert_eq!(ids_at(&moved, Some("t.acme.example")), [2]);
        let back = moved.with_site("https://t.acme.example:8443", &[], fresh).unwrap();
        assert_eq!((back.sites().len(), ids_at(&back, Some("m.acme.example"))), (2, vec![2]));
        let new = keyring.with_site("https://t.beta.example", &former("https://old.beta.example"), fresh).unwrap();
        assert_eq!(ids_at(&new, Some("old.beta.example")), [9]);
    }

    #[test]
    fn a_rotation_takes_the_next_id_and_fills_up_at_256() {
        let mut ring = keyring();
        assert_eq!(ring.current_key(), Some(7));
        ring = ring.rotated(Secret([1; 32]), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(ring.current_key(), Some(8));
        for _ in 0..253 {
            ring = ring.rotated(Secret([1; 32]), Timestamp::UNIX_EPOCH).unwrap();
        }
        assert_eq!(ring.keys().len(), 256);
        assert_eq!(ring.rotated(Secret([1; 32]), Timestamp::UNIX_EPOCH).unwrap_err(), KeyringError::KeysFull);
    }

    #[test]
    fn a_revoked_key_is_not_in_use() {
        let ring = keyring().revoked(7, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(ring.current_key(), Some(0));
        assert_eq!(ring.revoked(0, Timestamp::UNIX_EPOCH).unwrap().current_key(), None);
        assert_eq!(ring.revoked(9, Timestamp::UNIX_EPOCH).unwrap_err(), KeyringError::NoSuchKey(9));
    }

    #[test]
    fn what_makes_no_keyring_is_refused() {
        let home = || site(1, "https://t.example.com", true);
        let rows: [(Vec<RootKey>, Vec<Site>, &str); 6] = [
            (vec![], vec![home()], "no [[key]]"),
            (vec![key(0), key(0)], vec![home()], "key 0 is there twice"),
            (vec![key(0)], vec![], "not 0"),
            (vec![key(0)], vec![home(), site(2, "https://x.example", true)], "not 2"),
            (vec![key(0)], vec![home(), site(1, "https://x.example", false)], "twice"),
            (vec![key(0)], vec![site(1, "https://x.example/path", true)], "nothing after it"),
        ];
        for (keys, sites, words) in rows {
            let error = Keyring::new(keys, sites).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn no_secret_is_in_a_debug_text() {
        let text = format!("{:?} {:?}", keyring(), keyring().instance_key());
        assert!(text.contains("Secret(…)") && !text.contains("7, 7, 7"), "{text}");
    }

    /// The mac is HMAC-SHA256 under the HKDF of the root key, computed independently (Python's hmac and hashlib).
    #[test]
    fn the_instance_key_is_fixed() {
        let mac = InstanceKey::derive(&Secret([7; 32])).mac(&[b"ab", b"c"]);
        assert_eq!(hex(&mac), INSTANCE_MAC);
    }

    const INSTANCE_MAC: &str = "3994c4e2ced8c52f23c5da558a204e42c94f0460e363311637c5a7c330156f8a";

    pub(in crate::token) fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }
}
