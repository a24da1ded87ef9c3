//! How a settings value looks on disk: one version byte, then JSON.
//!
//! **Invariant:** a value written by any released version can be read for ever. A changed shape is a new version byte
//! and a new struct; the old struct stays, with a conversion, until no store can hold it.

pub(super) mod access;
pub(super) mod audit;
pub(super) mod notices;
pub(super) mod upstream;

use serde::{Deserialize, Serialize};

use super::Override;
use super::people::LedgerEntry;
use crate::settings::privacy::{Act, Consent, Footer, Noted, OrgPrivacy, Standing};
use crate::settings::{
    Choice, Keeping, Managed, Mode, Org, OrgName, OwnRules, PlaceDetail, Quotes, Role, Switch, User, VisibleUrls,
};

/// The only version so far.
const VERSION_1: u8 = 1;

/// Why a value cannot be read, in words for an operator.
pub(super) type Unreadable = String;

/// An org, encoded.
pub(super) fn encode_org(org: &Org) -> Result<Vec<u8>, Unreadable> {
    encode(&OrgV1::from(org))
}

/// Reads [`encode_org`].
pub(super) fn decode_org(value: &[u8]) -> Result<Org, Unreadable> {
    decode::<OrgV1>(value)?.try_into()
}

/// A user, encoded.
pub(super) fn encode_user(user: &User) -> Result<Vec<u8>, Unreadable> {
    encode(&UserV1::from(user))
}

/// Reads [`encode_user`].
pub(super) fn decode_user(value: &[u8]) -> Result<User, Unreadable> {
    decode::<UserV1>(value)?.try_into()
}

/// An override, encoded.
pub(super) fn encode_override(change: &Override) -> Result<Vec<u8>, Unreadable> {
    encode(&match change {
        Override::Destination(url) => OverrideV1 { destination: Some(url.clone()) },
        Override::Withdrawn => OverrideV1 { destination: None },
    })
}

/// Reads [`encode_override`].
pub(super) fn decode_override(value: &[u8]) -> Result<Override, Unreadable> {
    Ok(decode::<OverrideV1>(value)?.destination.map_or(Override::Withdrawn, Override::Destination))
}

/// How a person stands, encoded.
pub(super) fn encode_standing(standing: &Standing) -> Result<Vec<u8>, Unreadable> {
    let Standing { stopped, noted, changed_at_ms, acts } = *standing;
    encode(&StandingV1 { stopped, noted: noted.as_str().to_owned(), changed_at_ms, acts })
}

/// Reads [`encode_standing`].
pub(super) fn decode_standing(value: &[u8]) -> Result<Standing, Unreadable> {
    let StandingV1 { stopped, noted, changed_at_ms, acts } = decode(value)?;
    Ok(Standing { stopped, noted: parse(&noted, "standing", Noted::parse)?, changed_at_ms, acts })
}

/// A line of the ledger, encoded.
pub(super) fn encode_entry(entry: &LedgerEntry) -> Result<Vec<u8>, Unreadable> {
    let LedgerEntry { at_ms, act, source, wording } = entry.clone();
    encode(&EntryV1 { at_ms, act: act.as_str().to_owned(), source, wording })
}

/// Reads [`encode_entry`].
pub(super) fn decode_entry(value: &[u8]) -> Result<LedgerEntry, Unreadable> {
    let EntryV1 { at_ms, act, source, wording } = decode(value)?;
    Ok(LedgerEntry { at_ms, act: parse(&act, "act", Act::parse)?, source, wording })
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, Unreadable> {
    let mut bytes = vec![VERSION_1];
    serde_json::to_writer(&mut bytes, value).map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn decode<T: for<'a> Deserialize<'a>>(value: &[u8]) -> Result<T, Unreadable> {
    match value.split_first() {
        Some((&VERSION_1, json)) => serde_json::from_slice(json).map_err(|e| e.to_string()),
        Some((version, _)) => Err(format!("value version {version} is newer than this program knows ({VERSION_1})")),
        None => Err("the value is empty".to_owned()),
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChoiceV1 {
    opens: Option<String>,
    links: Option<String>,
    text_links: Option<bool>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrgV1 {
    name: String,
    domains: Vec<String>,
    choice: ChoiceV1,
    /// Those that `config.toml` sets, by their names in [`Managed`].
    managed: Vec<String>,
    tracking_url: Option<String>,
    former_urls: Vec<String>,
    visible_urls: String,
    quotes: String,
    excluded_hosts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rules_off: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    own_networks: Vec<String>,
    #[serde(default, skip_serializing_if = "PrivacyV1::is_default")]
    privacy: PrivacyV1,
    #[serde(default, skip_serializing_if = "KeepingV1::is_default")]
    keeping: KeepingV1,
    /// By their names in [`Switch`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    locked: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    shadow: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    excluded_recipients: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sensitive_off: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leave_links: Vec<String>,
}

/// For serde: what is off takes no room.
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PrivacyV1 {
    #[serde(skip_serializing_if = "Option::is_none")]
    shown_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    page_text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    consent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    without_consent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    footer: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StandingV1 {
    stopped: bool,
    noted: String,
    changed_at_ms: i64,
    acts: u16,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryV1 {
    at_ms: i64,
    act: String,
    source: String,
    wording: String,
}

/// What is left out is as by default.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeepingV1 {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raw_evidence: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    honour_gpc: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    events_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messages_days: Option<u32>,
}

impl KeepingV1 {
    fn is_default(&self) -> bool {
        *self == KeepingV1::default()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserV1 {
    login: String,
    org: Option<String>,
    role: String,
    password_hash: String,
    addresses: Vec<String>,
    choice: ChoiceV1,
    #[serde(default, skip_serializing_if = "is_false")]
    shadow: bool,
    #[serde(default, skip_serializing_if = "OwnV1::is_default")]
    own: OwnV1,
    #[serde(default, skip_serializing_if = "is_false")]
    one_time: bool,
}

/// What a sender narrows besides. What is left out follows the organisation.
#[derive(Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OwnV1 {
    /// `leave`
    #[serde(skip_serializing_if = "Option::is_none")]
    visible_urls: Option<String>,
    /// `country`
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    /// `false`
    #[serde(skip_serializing_if = "Option::is_none")]
    raw_evidence: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    excluded_recipients: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    excluded_hosts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    leave_links: Vec<String>,
}

impl OwnV1 {
    fn is_default(&self) -> bool {
        *self == OwnV1::default()
    }
}

/// No destination means withdrawn.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OverrideV1 {
    destination: Option<String>,
}

impl From<Choice> for ChoiceV1 {
    fn from(choice: Choice) -> ChoiceV1 {
        let text = |mode: Mode| mode.as_str().to_owned();
        ChoiceV1 { opens: choice.opens.map(text), links: choice.links.map(text), text_links: choice.text_links }
    }
}

impl TryFrom<ChoiceV1> for Choice {
    type Error = Unreadable;
    fn try_from(stored: ChoiceV1) -> Result<Choice, Unreadable> {
        let mode = |text: Option<String>| text.map(|text| parse(&text, "mode", |t| t.parse::<Mode>().ok())).transpose();
        Ok(Choice { opens: mode(stored.opens)?, links: mode(stored.links)?, text_links: stored.text_links })
    }
}

impl From<Keeping> for KeepingV1 {
    fn from(keeping: Keeping) -> KeepingV1 {
        let usual = Keeping::default();
        KeepingV1 {
            place: (keeping.place != usual.place).then(|| keeping.place.to_string()),
            raw_evidence: (keeping.raw_evidence != usual.raw_evidence).then_some(keeping.raw_evidence),
            honour_gpc: (keeping.honour_gpc != usual.honour_gpc).then_some(keeping.honour_gpc),
            events_days: keeping.events_days,
            messages_days: keeping.messages_days,
        }
    }
}

impl TryFrom<KeepingV1> for Keeping {
    type Error = Unreadable;
    fn try_from(stored: KeepingV1) -> Result<Keeping, Unreadable> {
        let usual = Keeping::default();
        let place = stored.place.map(|text| parse(&text, "detail of places", |t| t.parse().ok())).transpose()?;
        Ok(Keeping {
            place: place.unwrap_or(usual.place),
            raw_evidence: stored.raw_evidence.unwrap_or(usual.raw_evidence),
            honour_gpc: stored.honour_gpc.unwrap_or(usual.honour_gpc),
            events_days: stored.events_days,
            messages_days: stored.messages_days,
        })
    }
}

impl From<&OwnRules> for OwnV1 {
    fn from(own: &OwnRules) -> OwnV1 {
        let OwnRules { leave_visible_urls, country_only, no_raw_evidence, .. } = *own;
        let OwnRules { excluded_recipients, excluded_hosts, leave_links, .. } = own;
        OwnV1 {
            visible_urls: leave_visible_urls.then(|| VisibleUrls::Leave.as_str().to_owned()),
            place: country_only.then(|| PlaceDetail::Country.to_string()),
            raw_evidence: no_raw_evidence.then_some(false),
            excluded_recipients: excluded_recipients.iter().map(|one| one.as_str().to_owned()).collect(),
            excluded_hosts: excluded_hosts.clone(),
            leave_links: leave_links.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        }
    }
}

impl TryFrom<OwnV1> for OwnRules {
    type Error = Unreadable;
    fn try_from(stored: OwnV1) -> Result<OwnRules, Unreadable> {
        let visible_urls = stored.visible_urls.map(|text| parse(&text, "visible_urls", visible_urls)).transpose()?;
        let place = stored.place.map(|text| parse(&text, "detail of places", |t| t.parse().ok())).transpose()?;
        Ok(OwnRules {
            leave_visible_urls: visible_urls == Some(VisibleUrls::Leave),
            country_only: place == Some(PlaceDetail::Country),
            no_raw_evidence: stored.raw_evidence == Some(false),
            excluded_recipients: parse_all(&stored.excluded_recipients, "recipient", |t| t.parse().ok())?,
            excluded_hosts: stored.excluded_hosts,
            leave_links: parse_all(&stored.leave_links, "link pattern", |t| t.parse().ok())?,
        })
    }
}

fn visible_urls(text: &str) -> Option<VisibleUrls> {
    [VisibleUrls::Track, VisibleUrls::Leave].into_iter().find(|value| value.as_str() == text)
}

impl From<&Org> for OrgV1 {
    fn from(org: &Org) -> OrgV1 {
        OrgV1 {
            name: org.name.as_str().to_owned(),
            domains: org.domains.clone(),
            choice: org.choice.into(),
            managed: org.managed.names().into_iter().map(str::to_owned).collect(),
            tracking_url: org.tracking_url.clone(),
            former_urls: org.former_urls.clone(),
            visible_urls: org.visible_urls.as_str().to_owned(),
            quotes: match org.quotes {
                Quotes::Unwrap => "unwrap",
                Quotes::Leave => "leave",
            }
            .to_owned(),
            excluded_hosts: org.excluded_hosts.clone(),
            rules_off: org.rules_off.clone(),
            own_networks: org.own_networks.iter().map(ToString::to_string).collect(),
            privacy: PrivacyV1::from(&org.privacy),
            keeping: org.keeping.into(),
            locked: org.locked.names().into_iter().map(str::to_owned).collect(),
            shadow: org.shadow,
            excluded_recipients: org.excluded_recipients.iter().map(|one| one.as_str().to_owned()).collect(),
            sensitive_off: org.sensitive_off.clone(),
            leave_links: org.leave_links.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        }
    }
}

impl TryFrom<OrgV1> for Org {
    type Error = Unreadable;
    fn try_from(stored: OrgV1) -> Result<Org, Unreadable> {
        Ok(Org {
            name: org_name(&stored.name)?,
            domains: stored.domains,
            choice: stored.choice.try_into()?,
            managed: managed_from(&stored.managed)?,
            tracking_url: stored.tracking_url,
            former_urls: stored.former_urls,
            visible_urls: parse(&stored.visible_urls, "visible_urls", visible_urls)?,
            quotes: parse(&stored.quotes, "quotes", |t| match t {
                "unwrap" => Some(Quotes::Unwrap),
                "leave" => Some(Quotes::Leave),
                _ => None,
            })?,
            excluded_hosts: stored.excluded_hosts,
            rules_off: stored.rules_off,
            own_networks: parse_all(&stored.own_networks, "network", |t| t.parse().ok())?,
            privacy: stored.privacy.try_into()?,
            keeping: stored.keeping.try_into()?,
            locked: parse_all(&stored.locked, "switch", Switch::parse)?.into_iter().collect(),
            shadow: stored.shadow,
            excluded_recipients: parse_all(&stored.excluded_recipients, "recipient", |t| t.parse().ok())?,
            sensitive_off: stored.sensitive_off,
            leave_links: parse_all(&stored.leave_links, "link pattern", |t| t.parse().ok())?,
        })
    }
}

impl PrivacyV1 {
    fn is_default(&self) -> bool {
        *self == PrivacyV1::default()
    }
}

impl From<&OrgPrivacy> for PrivacyV1 {
    fn from(privacy: &OrgPrivacy) -> PrivacyV1 {
        PrivacyV1 {
            shown_name: privacy.shown_name.clone(),
            page_text: privacy.page_text.clone(),
            consent: privacy.consent.map(|consent| consent.to_string()),
            without_consent: privacy.without_consent.map(|mode| mode.to_string()),
            footer: privacy.footer.as_ref().map(|footer| footer.as_str().to_owned()),
        }
    }
}

impl TryFrom<PrivacyV1> for OrgPrivacy {
    type Error = Unreadable;
    fn try_from(stored: PrivacyV1) -> Result<OrgPrivacy, Unreadable> {
        fn read<T: std::str::FromStr>(text: Option<String>, what: &str) -> Result<Option<T>, Unreadable> {
            text.map(|text| parse(&text, what, |t| t.parse().ok())).transpose()
        }
        Ok(OrgPrivacy {
            shown_name: stored.shown_name,
            page_text: stored.page_text,
            consent: read::<Consent>(stored.consent, "consent")?,
            without_consent: read::<Mode>(stored.without_consent, "mode")?,
            footer: read::<Footer>(stored.footer, "footer")?,
        })
    }
}

impl From<&User> for UserV1 {
    fn from(user: &User) -> UserV1 {
        UserV1 {
            login: user.login.clone(),
            org: user.org.as_ref().map(|org| org.as_str().to_owned()),
            role: user.role.as_str().to_owned(),
            password_hash: user.password_hash.clone(),
            addresses: user.addresses.clone(),
            choice: user.choice.into(),
            shadow: user.shadow,
            own: OwnV1::from(&user.own),
            one_time: user.one_time,
        }
    }
}

impl TryFrom<UserV1> for User {
    type Error = Unreadable;
    fn try_from(stored: UserV1) -> Result<User, Unreadable> {
        let roles = [Role::ServerAdmin, Role::OrgAdmin, Role::Sender];
        Ok(User {
            login: stored.login,
            org: stored.org.as_deref().map(org_name).transpose()?,
            role: parse(&stored.role, "role", |t| roles.into_iter().find(|role| role.as_str() == t))?,
            password_hash: stored.password_hash,
            addresses: stored.addresses,
            choice: stored.choice.try_into()?,
            shadow: stored.shadow,
            own: stored.own.try_into()?,
            one_time: stored.one_time,
        })
    }
}

fn managed_from(names: &[String]) -> Result<Managed, Unreadable> {
    let mut managed = Managed::default();
    match names.iter().find(|name| !managed.mark(name)) {
        Some(other) => Err(format!("`{other}` is no managed value")),
        None => Ok(managed),
    }
}

fn org_name(text: &str) -> Result<OrgName, Unreadable> {
    parse(text, "org name", |t| t.parse().ok())
}

fn parse<T>(text: &str, what: &str, read: impl FnOnce(&str) -> Option<T>) -> Result<T, Unreadable> {
    read(text).ok_or_else(|| format!("`{text}` is no {what}"))
}

fn parse_all<T>(texts: &[String], what: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Unreadable> {
    texts.iter().map(|text| parse(text, what, &read)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::settings::Locked;

    /// An org with no value at its default.
    pub(in crate::store) fn org(name: &str) -> Org {
        Org {
            name: name.parse().unwrap(),
            domains: vec!["example.com".to_owned(), "xn--bcher-kva.example".to_owned()],
            choice: Choice { opens: Some(Mode::Aggregate), links: Some(Mode::Off), text_links: Some(false) },
            managed: Managed { org: true, links: true, text_links: true, ..Managed::default() },
            tracking_url: Some("https://t.example.com".to_owned()),
            former_urls: vec!["https://old.example.com".to_owned()],
            visible_urls: VisibleUrls::Leave,
            quotes: Quotes::Leave,
            excluded_hosts: vec!["intranet.example".to_owned()],
            rules_off: vec!["instant".to_owned()],
            own_networks: vec!["198.51.100.0/24".parse().unwrap()],
            privacy: OrgPrivacy {
                shown_name: Some("Acme \u{dc}".to_owned()),
                page_text: Some("Ask us.".to_owned()),
                consent: Some(Consent::Required),
                without_consent: Some(Mode::Aggregate),
                footer: Some("See [here]".parse().unwrap()),
            },
            keeping: Keeping {
                place: PlaceDetail::Country,
                raw_evidence: true,
                honour_gpc: false,
                events_days: Some(30),
                messages_days: Some(60),
            },
            locked: Locked::default().with(Switch::Links),
            shadow: true,
            excluded_recipients: vec!["bob@partner.example".parse().unwrap()],
            sensitive_off: vec!["calendar-reply".to_owned()],
            leave_links: vec!["portal.example/account".parse().unwrap()],
        }
    }

    /// A user with no value at its default.
    pub(in crate::store) fn user(login: &str) -> User {
        User {
            login: login.to_owned(),
            org: Some("acme".parse().unwrap()),
            role: Role::OrgAdmin,
            password_hash: "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA".to_owned(),
            addresses: vec!["ann@other.example".to_owned()],
            choice: Choice { opens: None, links: Some(Mode::Individual), text_links: None },
            shadow: true,
            own: OwnRules {
                leave_visible_urls: true,
                country_only: true,
                no_raw_evidence: true,
                excluded_recipients: vec!["cy@reader.example".parse().unwrap()],
                excluded_hosts: vec!["shop.example".to_owned()],
                leave_links: vec!["portal.example/me".parse().unwrap()],
            },
            one_time: true,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(decode_org(&encode_org(&org("acme")).unwrap()), Ok(org("acme")));
        assert_eq!(decode_user(&encode_user(&user("ann")).unwrap()), Ok(user("ann")));
        let admin = User { org: None, role: Role::ServerAdmin, choice: Choice::default(), ..user("root") };
        assert_eq!(decode_user(&encode_user(&admin).unwrap()), Ok(admin));
        for change in [Override::Withdrawn, Override::Destination("https://example.com/?a=1".to_owned())] {
            assert_eq!(decode_override(&encode_override(&change).unwrap()), Ok(change));
        }
    }

    /// The very bytes of version 1, so that an edit of the structs above cannot change them unseen.
    #[test]
    fn version_1_is_this() {
        let stored = b"\x01{\"login\":\"ann\",\"org\":\"acme\",\"role\":\"org-admin\",\"password_hash\":\"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA\",\
            \"addresses\":[\"ann@other.example\"],\"choice\":{\"opens\":null,\"links\":\"individual\",\"text_links\":null}}";
        let ann = User { shadow: false, own: OwnRules::default(), one_time: false, ..user("ann") };
        assert_eq!(decode_user(stored), Ok(ann.clone()), "what was added since is as by default");
        assert_eq!(encode_user(&ann).unwrap(), stored, "and takes no room");
        let own = b",\"own\":{\"visible_urls\":\"leave\",\"place\":\"country\",\"raw_evidence\":false,\
            \"excluded_recipients\":[\"cy@reader.example\"],\"excluded_hosts\":[\"shop.example\"],\"leave_links\":[\"portal.example/me\"]}}";
        let stored = [&stored[..stored.len() - 1], own].concat();
        let ann = User { own: user("ann").own, ..ann };
        assert_eq!((decode_user(&stored), encode_user(&ann)), (Ok(ann.clone()), Ok(stored)));
        let stored = b"\x01{\"name\":\"acme\",\"domains\":[\"example.com\",\"xn--bcher-kva.example\"],\"choice\":{\"opens\":\"aggregate\",\
            \"links\":\"off\",\"text_links\":false},\"managed\":[\"org\",\"links\",\"text_links\"],\"tracking_url\":\"https://t.example.com\",\
            \"former_urls\":[\"https://old.example.com\"],\"visible_urls\":\"leave\",\"quotes\":\"leave\",\"excluded_hosts\":[\"intranet.example\"]}";
        let without = Org {
            rules_off: Vec::new(),
            own_networks: Vec::new(),
            privacy: OrgPrivacy::default(),
            keeping: Keeping::default(),
            locked: Locked::default(),
            shadow: false,
            excluded_recipients: Vec::new(),
            sensitive_off: Vec::new(),
            leave_links: Vec::new(),
            ..org("acme")
        };
        assert_eq!(decode_org(stored), Ok(without.clone()), "what was added since is as by default");
        assert_eq!(encode_org(&without).unwrap(), stored, "and takes no room");
        assert_eq!(decode_override(b"\x01{\"destination\":null}"), Ok(Override::Withdrawn));
        let stored = b"\x01{\"stopped\":true,\"noted\":\"withdrawn\",\"changed_at_ms\":7,\"acts\":3}";
        let standing = Standing { stopped: true, noted: Noted::Withdrawn, changed_at_ms: 7, acts: 3 };
        assert_eq!(decode_standing(stored), Ok(standing));
        assert_eq!(encode_standing(&standing).as_deref(), Ok(&stored[..]));
        let stored = b"\x01{\"at_ms\":7,\"act\":\"grant\",\"source\":\"form\",\"wording\":\"yes\"}";
        let entry = LedgerEntry { at_ms: 7, act: Act::Grant, source: "form".to_owned(), wording: "yes".to_owned() };
        assert_eq!(encode_entry(&entry).as_deref(), Ok(&stored[..]));
        assert_eq!(decode_entry(stored), Ok(entry));
    }

    /// Rows: a newer version, no value, not JSON, a word out of range, a field this program does not know.
    #[test]
    fn what_cannot_be_read_says_why() {
        let unknown = br#"{"destination":null,"until":1}"#;
        let rows: [(Vec<u8>, &str); 4] = [
            (vec![2], "newer"),
            (vec![], "empty"),
            (b"\x01{".to_vec(), "EOF"),
            ([&[1][..], unknown].concat(), "unknown field"),
        ];
        for (value, words) in rows {
            let error = decode_override(&value).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        let json = String::from_utf8(encode_user(&user("ann")).unwrap()).unwrap().replace("org-admin", "emperor");
        assert_eq!(decode_user(json.as_bytes()), Err("`emperor` is no role".to_owned()));
    }
}
