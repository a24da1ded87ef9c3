//! How people get in, as values on disk: version byte, then JSON. Octets are base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Unreadable, decode, encode, org_name, parse};
use crate::settings::Role;
use crate::settings::access::{Access, Credential, Gift, Invitation, Purpose, Scope, SecondFactor};

/// Encoded.
pub(in crate::store) fn encode_access(access: Access) -> Result<Vec<u8>, Unreadable> {
    let Access { admins_see_messages, second_factor_required } = access;
    encode(&AccessV1 { admins_see_messages, second_factor_required })
}

/// Reads [`encode_access`].
pub(in crate::store) fn decode_access(value: &[u8]) -> Result<Access, Unreadable> {
    let AccessV1 { admins_see_messages, second_factor_required } = decode(value)?;
    Ok(Access { admins_see_messages, second_factor_required })
}

/// When a credential was last used, encoded.
pub(in crate::store) fn encode_use(at_ms: i64) -> Result<Vec<u8>, Unreadable> {
    encode(&at_ms)
}

/// Reads [`encode_use`].
pub(in crate::store) fn decode_use(value: &[u8]) -> Result<i64, Unreadable> {
    decode(value)
}

/// Encoded.
pub(in crate::store) fn encode_factor(factor: &SecondFactor) -> Result<Vec<u8>, Unreadable> {
    encode(&FactorV1 {
        sealed_secret: STANDARD.encode(&factor.sealed_secret),
        last_step: factor.last_step,
        recovery: factor.recovery.iter().map(|digest| STANDARD.encode(digest)).collect(),
        since_ms: factor.since_ms,
    })
}

/// Reads [`encode_factor`].
pub(in crate::store) fn decode_factor(value: &[u8]) -> Result<SecondFactor, Unreadable> {
    let stored: FactorV1 = decode(value)?;
    Ok(SecondFactor {
        sealed_secret: octets(&stored.sealed_secret)?,
        last_step: stored.last_step,
        recovery: stored.recovery.iter().map(|text| digest(text)).collect::<Result<_, _>>()?,
        since_ms: stored.since_ms,
    })
}

/// Encoded.
pub(in crate::store) fn encode_credential(credential: &Credential) -> Result<Vec<u8>, Unreadable> {
    let api = match &credential.purpose {
        Purpose::Mail => None,
        Purpose::Api { shown, scopes, expires_at_ms } => Some(ApiV1 {
            shown: shown.clone(),
            scopes: scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
            expires_at_ms: *expires_at_ms,
        }),
    };
    encode(&CredentialV1 {
        login: credential.login.clone(),
        name: credential.name.clone(),
        api,
        digest: STANDARD.encode(credential.digest),
        created_at_ms: credential.created_at_ms,
    })
}

/// Reads [`encode_credential`].
pub(in crate::store) fn decode_credential(value: &[u8]) -> Result<Credential, Unreadable> {
    let stored: CredentialV1 = decode(value)?;
    let purpose = match stored.api {
        None => Purpose::Mail,
        Some(ApiV1 { shown, scopes, expires_at_ms }) => {
            let scopes = scopes.iter().map(|text| parse(text, "scope", Scope::named)).collect::<Result<_, _>>()?;
            Purpose::Api { shown, scopes, expires_at_ms }
        }
    };
    let CredentialV1 { login, name, created_at_ms, .. } = stored;
    Ok(Credential { login, name, purpose, digest: digest(&stored.digest)?, created_at_ms })
}

/// Encoded.
pub(in crate::store) fn encode_invitation(invitation: &Invitation) -> Result<Vec<u8>, Unreadable> {
    let (account, login) = match &invitation.gives {
        Gift::Account { login, org, role } => {
            let org = org.as_ref().map(|org| org.as_str().to_owned());
            (Some(AccountV1 { org, role: role.as_str().to_owned() }), login)
        }
        Gift::Password { login } => (None, login),
    };
    encode(&InvitationV1 {
        digest: STANDARD.encode(invitation.digest),
        account,
        login: login.clone(),
        by: invitation.by.clone(),
        expires_at_ms: invitation.expires_at_ms,
    })
}

/// Reads [`encode_invitation`].
pub(in crate::store) fn decode_invitation(value: &[u8]) -> Result<Invitation, Unreadable> {
    let stored: InvitationV1 = decode(value)?;
    let login = stored.login;
    let gives = match stored.account {
        Some(AccountV1 { org, role }) => {
            let roles = [Role::ServerAdmin, Role::OrgAdmin, Role::Sender];
            let role = parse(&role, "role", |text| roles.into_iter().find(|role| role.as_str() == text))?;
            Gift::Account { login, org: org.as_deref().map(org_name).transpose()?, role }
        }
        None => Gift::Password { login },
    };
    Ok(Invitation { digest: digest(&stored.digest)?, gives, by: stored.by, expires_at_ms: stored.expires_at_ms })
}

fn octets(text: &str) -> Result<Vec<u8>, Unreadable> {
    STANDARD.decode(text).map_err(|error| error.to_string())
}

fn digest(text: &str) -> Result<[u8; 32], Unreadable> {
    octets(text)?.try_into().map_err(|_| "a digest is 32 octets".to_owned())
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessV1 {
    admins_see_messages: bool,
    second_factor_required: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactorV1 {
    sealed_secret: String,
    last_step: u64,
    recovery: Vec<String>,
    since_ms: i64,
}

/// Without `api` it is for mail.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialV1 {
    login: String,
    name: String,
    api: Option<ApiV1>,
    digest: String,
    created_at_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ApiV1 {
    shown: String,
    scopes: Vec<String>,
    expires_at_ms: Option<i64>,
}

/// Without an account it gives a new password.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InvitationV1 {
    digest: String,
    account: Option<AccountV1>,
    login: String,
    by: String,
    expires_at_ms: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountV1 {
    org: Option<String>,
    role: String,
}

#[cfg(test)]
pub(in crate::store) mod tests {
    use super::*;

    /// An app password and an API key.
    pub(in crate::store) fn credentials() -> [Credential; 2] {
        let mail = Credential {
            login: "ann".to_owned(),
            name: "Thunderbird".to_owned(),
            purpose: Purpose::Mail,
            digest: [7; 32],
            created_at_ms: 5,
        };
        let scopes = [Scope::Read, Scope::SendTest].into();
        let purpose = Purpose::Api { shown: "wxs_abcd".to_owned(), scopes, expires_at_ms: Some(9) };
        [mail.clone(), Credential { purpose, digest: [8; 32], ..mail }]
    }

    /// One that makes an account, one that sets a password.
    pub(in crate::store) fn invitations() -> [Invitation; 2] {
        let login = "new".to_owned();
        let gives = Gift::Account { login, org: Some("acme".parse().unwrap()), role: Role::OrgAdmin };
        let account = Invitation { digest: [1; 32], gives, by: "root".to_owned(), expires_at_ms: 3 };
        let gives = Gift::Password { login: "ann".to_owned() };
        [account.clone(), Invitation { digest: [2; 32], gives, ..account }]
    }

    pub(in crate::store) fn factor() -> SecondFactor {
        SecondFactor { sealed_secret: vec![1, 2, 3], last_step: 4, recovery: vec![[5; 32], [6; 32]], since_ms: 7 }
    }

    #[test]
    fn what_was_written_is_read() {
        for (see, require) in [(false, true), (true, false)] {
            let access = Access { admins_see_messages: see, second_factor_required: require };
            assert_eq!(decode_access(&encode_access(access).unwrap()), Ok(access));
        }
        assert_eq!(decode_factor(&encode_factor(&factor()).unwrap()), Ok(factor()));
        for credential in credentials() {
            assert_eq!(decode_credential(&encode_credential(&credential).unwrap()), Ok(credential));
        }
        for invitation in invitations() {
            assert_eq!(decode_invitation(&encode_invitation(&invitation).unwrap()), Ok(invitation));
        }
    }

    /// The very bytes of version 1.
    #[test]
    fn version_1_is_this() {
        let stored = b"\x01{\"sealed_secret\":\"AQID\",\"last_step\":4,\"recovery\":[\"BQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU=\",\
            \"BgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgYGBgY=\"],\"since_ms\":7}";
        assert_eq!(decode_factor(stored), Ok(factor()));
        let stored = b"\x01{\"login\":\"ann\",\"name\":\"Thunderbird\",\"api\":{\"shown\":\"wxs_abcd\",\"scopes\":[\"read\",\"send-test\"],\
            \"expires_at_ms\":9},\"digest\":\"CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=\",\"created_at_ms\":5}";
        assert_eq!(decode_credential(stored), Ok(credentials()[1].clone()));
        let stored = b"\x01{\"digest\":\"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\",\"account\":null,\"login\":\"ann\",\"by\":\"root\",\"expires_at_ms\":3}";
        assert_eq!(decode_invitation(stored), Ok(invitations()[1].clone()));
    }

    /// Rows: a scope of nobody's, a digest too short, a role of nobody's.
    #[test]
    fn what_cannot_be_read_says_why() {
        let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
        let credential = text(encode_credential(&credentials()[1]).unwrap());
        let strange = credential.replace("send-test", "rule");
        assert_eq!(decode_credential(strange.as_bytes()), Err("`rule` is no scope".to_owned()));
        let short = credential.replace("CAgICAgI", "");
        assert!(decode_credential(short.as_bytes()).unwrap_err().contains("32 octets"));
        let king = text(encode_invitation(&invitations()[0]).unwrap()).replace("org-admin", "king");
        assert_eq!(decode_invitation(king.as_bytes()), Err("`king` is no role".to_owned()));
    }
}
