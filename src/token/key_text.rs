//! The text of `keys.toml`: what an administrator backs up, on paper if need be.
//!
//! **Invariant:** `parse(print(keyring))` is the keyring. An error never quotes the text: a secret might stand there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::keyring::{Keyring, KeyringError, RootKey, Secret, Site};

const HEADER: &str = "\
# The keys of this waxseal. Every tracked link it has ever sent opens with them and with nothing else.
# Keep this file secret and back it up. Do not edit it while waxseal runs; `waxseal keys` does.

";

impl Keyring {
    /// Reads the text of a key file.
    ///
    /// # Errors
    /// [`KeyringError`]: the line and what is wrong with it, never what stands there.
    pub fn parse(text: &str) -> Result<Keyring, KeyringError> {
        let file: File = toml::from_str(text).map_err(|e| KeyringError::Text {
            line: e.span().map_or(0, |span| line_of(text, span.start)),
            detail: "not the form of a key file (see the header of one that waxseal wrote)".to_owned(),
        })?;
        let keys = file.key.iter().map(KeyText::read).collect::<Result<_, _>>()?;
        let sites = file.site.into_iter().map(SiteText::read).collect::<Result<_, _>>()?;
        Keyring::new(keys, sites)
    }

    /// The text of the key file. It holds the secrets.
    ///
    /// # Errors
    /// [`KeyringError::Text`] when a value cannot be written as TOML.
    pub fn print(&self) -> Result<String, KeyringError> {
        let file = File {
            key: self.keys().iter().map(KeyText::from).collect(),
            site: self.sites().iter().map(SiteText::from).collect(),
        };
        let text = toml::to_string(&file).map_err(|e| KeyringError::Text { line: 0, detail: e.to_string() })?;
        Ok(format!("{HEADER}{text}"))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<KeyText>,
    #[serde(default)]
    site: Vec<SiteText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyText {
    id: u8,
    /// 64 hex digits.
    secret: String,
    /// RFC 3339.
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SiteText {
    /// 8 hex digits.
    id: String,
    url: String,
    #[serde(default)]
    former_urls: Vec<String>,
    #[serde(default)]
    default: bool,
}

impl KeyText {
    fn read(&self) -> Result<RootKey, KeyringError> {
        let wrong = |what: &str| KeyringError::Text { line: 0, detail: format!("key {}: {what}", self.id) };
        let time = |text: &str| text.parse::<Timestamp>().map_err(|_| wrong("a time is not as 2026-01-31T12:00:00Z"));
        Ok(RootKey {
            id: self.id,
            secret: secret_of(&self.secret).ok_or_else(|| wrong("the secret is not 64 hex digits"))?,
            created: time(&self.created)?,
            revoked: self.revoked.as_deref().map(time).transpose()?,
        })
    }
}

impl From<&RootKey> for KeyText {
    fn from(key: &RootKey) -> KeyText {
        KeyText {
            id: key.id,
            secret: key.secret.0.iter().map(|octet| format!("{octet:02x}")).collect(),
            created: key.created.to_string(),
            revoked: key.revoked.map(|at| at.to_string()),
        }
    }
}

impl SiteText {
    fn read(self) -> Result<Site, KeyringError> {
        let id = self.id.parse().map_err(|_| KeyringError::Text {
            line: 0,
            detail: format!("site `{}`: an id is 8 hex digits", self.id.escape_default()),
        })?;
        Ok(Site { id, url: self.url, former_urls: self.former_urls, default: self.default })
    }
}

impl From<&Site> for SiteText {
    fn from(site: &Site) -> SiteText {
        SiteText {
            id: site.id.to_string(),
            url: site.url.clone(),
            former_urls: site.former_urls.clone(),
            default: site.default,
        }
    }
}

fn secret_of(text: &str) -> Option<Secret> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut secret = [0; 32];
    if pairs.len() != secret.len() || !rest.is_empty() {
        return None;
    }
    for (octet, [high, low]) in secret.iter_mut().zip(pairs) {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *octet = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(Secret(secret))
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::super::keyring::tests::{key, keyring};
    use super::*;

    /// Written once and kept: a key file from a backup must be readable by every later version.
    const KEPT: &str = r#"
[[key]]
id = 0
secret = "0000000000000000000000000000000000000000000000000000000000000000"
created = "1970-01-01T00:00:00Z"

[[key]]
id = 7
secret = "0707070707070707070707070707070707070707070707070707070707070707"
created = "1970-01-01T00:00:00Z"
revoked = "2026-01-31T12:00:00Z"

[[site]]
id = "01010101"
url = "https://t.example.com"
former_urls = ["http://old.example.com:8025"]
default = true
"#;

    #[test]
    fn a_kept_file_is_read() {
        let ring = Keyring::parse(KEPT).unwrap();
        let revoked = Some("2026-01-31T12:00:00Z".parse().unwrap());
        assert_eq!(ring.keys(), [key(0), RootKey { revoked, ..key(7) }]);
        let [site] = ring.sites() else { panic!("one site") };
        assert_eq!((site.url.as_str(), site.default), ("https://t.example.com", true));
        assert_eq!(site.former_urls, ["http://old.example.com:8025"]);
    }

    #[test]
    fn what_was_printed_is_read() {
        let ring = keyring().with_default_url("https://new.example").unwrap();
        let ring = ring.revoked(0, Timestamp::UNIX_EPOCH).unwrap();
        let read = Keyring::parse(&ring.print().unwrap()).unwrap();
        assert_eq!((read.keys(), read.sites()), (ring.keys(), ring.sites()));
    }

    /// Each says where and what, and none repeats the secret.
    #[test]
    fn what_cannot_be_read_says_why_without_the_secret() {
        let secret = "0707070707070707070707070707070707070707070707070707070707070707";
        for (from, to, words) in [
            (secret, "0707", "64 hex digits"),
            ("\"0707", "\"g707", "64 hex digits"),
            ("\"0707", "0707", "line 9"),
            ("id = 7", "id = 256", "line 8"),
            ("id = 7", "name = 7", "line "),
            ("2026-01-31T12:00:00Z", "yesterday", "key 7: a time"),
            ("01010101", "1", "8 hex digits"),
            ("https://t", "gopher://t", "tracking URL"),
        ] {
            let text = KEPT.replacen(from, to, 1);
            assert_ne!(text, KEPT);
            let error = Keyring::parse(&text).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("070707"), "{error}");
        }
    }
}
