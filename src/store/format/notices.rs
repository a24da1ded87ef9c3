//! Who is told of what, on disk.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Unreadable, decode, encode, org_name, parse};
use crate::settings::notices::{Level, NoticeCeiling, NoticeChoice, Topic, Webhook};

/// A person's choice, encoded.
pub(in crate::store) fn encode_choice(choice: NoticeChoice) -> Result<Vec<u8>, Unreadable> {
    encode(&NoticesV1 { level: choice.level.as_str().to_owned(), mail: choice.mail })
}

/// Reads [`encode_choice`].
pub(in crate::store) fn decode_choice(value: &[u8]) -> Result<NoticeChoice, Unreadable> {
    let NoticesV1 { level: text, mail } = decode(value)?;
    Ok(NoticeChoice { level: level(&text)?, mail })
}

/// What an organisation allows, encoded.
pub(in crate::store) fn encode_ceiling(ceiling: NoticeCeiling) -> Result<Vec<u8>, Unreadable> {
    encode(&NoticesV1 { level: ceiling.level.as_str().to_owned(), mail: ceiling.mail })
}

/// Reads [`encode_ceiling`].
pub(in crate::store) fn decode_ceiling(value: &[u8]) -> Result<NoticeCeiling, Unreadable> {
    let NoticesV1 { level: text, mail } = decode(value)?;
    Ok(NoticeCeiling { level: level(&text)?, mail })
}

/// A webhook, encoded.
pub(in crate::store) fn encode_webhook(webhook: &Webhook) -> Result<Vec<u8>, Unreadable> {
    let text = |topic: &Topic| topic.as_str().to_owned();
    encode(&WebhookV1 {
        id: webhook.id.to_string(),
        org: webhook.org.as_str().to_owned(),
        login: webhook.login.clone(),
        url: webhook.url.clone(),
        topics: webhook.topics.iter().map(text).collect(),
        level: webhook.level.as_str().to_owned(),
        words: webhook.words,
        paused: webhook.paused,
        sealed_secret: STANDARD.encode(&webhook.sealed_secret),
        created_at_ms: webhook.created_at_ms,
    })
}

/// Reads [`encode_webhook`].
pub(in crate::store) fn decode_webhook(value: &[u8]) -> Result<Webhook, Unreadable> {
    let stored: WebhookV1 = decode(value)?;
    let topics = stored.topics.iter().map(|text| parse(text, "topic", Topic::parse)).collect::<Result<_, _>>()?;
    Ok(Webhook {
        id: parse(&stored.id, "webhook id", |text| text.parse().ok())?,
        org: org_name(&stored.org)?,
        login: stored.login,
        url: stored.url,
        topics,
        level: level(&stored.level)?,
        words: stored.words,
        paused: stored.paused,
        sealed_secret: STANDARD.decode(&stored.sealed_secret).map_err(|error| format!("sealed_secret: {error}"))?,
        created_at_ms: stored.created_at_ms,
    })
}

fn level(text: &str) -> Result<Level, Unreadable> {
    parse(text, "level", Level::parse)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoticesV1 {
    level: String,
    mail: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookV1 {
    id: String,
    org: String,
    login: Option<String>,
    url: String,
    topics: Vec<String>,
    level: String,
    words: bool,
    paused: bool,
    /// base64
    sealed_secret: String,
    created_at_ms: i64,
}

#[cfg(test)]
pub(in crate::store) mod tests {
    use super::*;
    use crate::settings::notices::WebhookId;

    /// A webhook with no value at its default.
    pub(in crate::store) fn webhook(id: u64) -> Webhook {
        Webhook {
            id: WebhookId(id),
            org: "acme".parse().unwrap(),
            login: Some("ann".to_owned()),
            url: "https://hooks.example/in?a=1".to_owned(),
            topics: vec![Topic::Clicked, Topic::Bounced],
            level: Level::Every,
            words: true,
            paused: true,
            sealed_secret: vec![1, 2, 0xff],
            created_at_ms: 1_795_464_000_000,
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(decode_webhook(&encode_webhook(&webhook(7)).unwrap()), Ok(webhook(7)));
        let whole = Webhook { login: None, ..webhook(u64::MAX) };
        assert_eq!(decode_webhook(&encode_webhook(&whole).unwrap()), Ok(whole));
        for level in Level::ALL {
            let choice = NoticeChoice { level, mail: level == Level::First };
            assert_eq!(decode_choice(&encode_choice(choice).unwrap()), Ok(choice));
        }
    }

    /// The very bytes of version 1, so that an edit of the structs above cannot change them unseen.
    #[test]
    fn version_1_is_this() {
        let stored = b"\x01{\"id\":\"0000000000000007\",\"org\":\"acme\",\"login\":\"ann\",\"url\":\"https://hooks.example/in?a=1\",\
            \"topics\":[\"message.clicked\",\"message.bounced\"],\"level\":\"every\",\"words\":true,\"paused\":true,\
            \"sealed_secret\":\"AQL/\",\"created_at_ms\":1795464000000}";
        assert_eq!(decode_webhook(stored), Ok(webhook(7)));
        let stored = b"\x01{\"level\":\"first\",\"mail\":false}";
        assert_eq!(decode_ceiling(stored), Ok(NoticeCeiling { level: Level::First, mail: false }));
        assert_eq!(decode_choice(b"\x01{\"level\":\"all\",\"mail\":false}"), Err("`all` is no level".to_owned()));
    }
}
