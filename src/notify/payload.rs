//! What a webhook is sent: `docs/webhook.schema.json` as types. Pure.
//!
//! **Invariant:** without `words` nothing in it names or describes a person: no recipient, subject, destination, place,
//! client or upstream's words.

use jiff::Timestamp;
use serde::Serialize;

use crate::event::EventKind;
use crate::settings::notices::{Topic, Webhook};
use crate::store::outbox::News;
use crate::store::record::TimelineEntry;

/// The `type` of a test.
pub const TEST_TOPIC: &str = "waxseal.test";

#[derive(Serialize)]
struct Payload<T> {
    r#type: &'static str,
    /// RFC 3339, of what happened.
    timestamp: String,
    data: T,
}

#[derive(Serialize)]
struct EventData {
    event: i64,
    message: MessageData,
    recipient: Option<String>,
    recipient_name: Option<String>,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<LinkData>,
    place: Option<PlaceData>,
    client: Option<ClientData>,
}

#[derive(Serialize)]
struct RefusedData {
    message: MessageData,
    recipient: Option<String>,
    reply: Option<String>,
}

#[derive(Serialize)]
struct MessageData {
    id: String,
    org: String,
    login: Option<String>,
    subject: Option<String>,
    message_id: Option<String>,
}

#[derive(Serialize)]
struct LinkData {
    index: u16,
    destination: Option<String>,
}

#[derive(Serialize)]
struct PlaceData {
    country: Option<String>,
    city: Option<String>,
    via: Option<&'static str>,
}

#[derive(Serialize)]
struct ClientData {
    name: Option<String>,
    os: Option<String>,
    device: Option<String>,
}

#[derive(Serialize)]
struct TestData {
    webhook: String,
    org: String,
}

/// What a piece of news is to a webhook.
pub fn topic(news: &News) -> Topic {
    match news {
        News::Refused { .. } => Topic::Bounced,
        News::Event { entry, .. } => match entry.event.kind {
            EventKind::Open => Topic::Opened,
            EventKind::Click => Topic::Clicked,
        },
    }
}

/// The JSON of a piece of news.
pub fn body(news: &News, words: bool) -> String {
    let told = |text: &str| Some(text.to_owned()).filter(|_| words);
    match news {
        News::Refused { at_ms, message, org, login, subject, message_id_header, index: _, recipient, reply } => {
            let message = MessageData {
                id: message.to_string(),
                org: org.as_str().to_owned(),
                login: login.clone(),
                subject: told(subject),
                message_id: told(message_id_header),
            };
            print(&Payload {
                r#type: Topic::Bounced.as_str(),
                timestamp: rfc3339(*at_ms),
                data: RefusedData { message, recipient: told(recipient), reply: told(reply) },
            })
        }
        News::Event { entry, first, message_id_header, .. } => {
            let data = event_data(entry, *first, told(message_id_header), words);
            print(&Payload { r#type: topic(news).as_str(), timestamp: rfc3339(entry.event.at_ms), data })
        }
    }
}

/// The JSON of a test.
pub fn test(at_ms: i64, webhook: &Webhook) -> String {
    let data = TestData { webhook: webhook.id.to_string(), org: webhook.org.as_str().to_owned() };
    print(&Payload { r#type: TEST_TOPIC, timestamp: rfc3339(at_ms), data })
}

fn event_data(entry: &TimelineEntry, first: bool, message_id: Option<String>, words: bool) -> EventData {
    let event = &entry.event;
    let clicked = event.kind == EventKind::Click;
    let (country, city, via) = (event.country.clone(), event.city.clone(), event.via.map(|via| via.as_str()));
    let place = PlaceData { country, city, via };
    let client = ClientData {
        name: event.agent_family.clone(),
        os: event.os_family.clone(),
        device: event.device_family.clone(),
    };
    let who = entry.recipient.as_ref().filter(|_| words);
    EventData {
        event: entry.sequence,
        message: MessageData {
            id: event.id.message.to_string(),
            org: entry.org.as_ref().map(|org| org.as_str().to_owned()).unwrap_or_default(),
            login: entry.login.clone(),
            subject: Some(entry.subject.clone()).filter(|_| words),
            message_id,
        },
        recipient: who.map(|who| who.address.clone()),
        recipient_name: who.map(|who| who.name.clone()).filter(|name| !name.is_empty()),
        verdict: event.verdict.as_str(),
        first: (!clicked).then_some(first),
        link: clicked
            .then(|| LinkData { index: event.id.link, destination: entry.destination.clone().filter(|_| words) }),
        place: Some(place).filter(|place| words && (place.country.is_some() || place.city.is_some())),
        client: Some(client).filter(|client| words && (client.name.is_some() || client.os.is_some())),
    }
}

fn rfc3339(at_ms: i64) -> String {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Strings and numbers are always JSON.
fn print(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Event, Verdict, Via};
    use crate::settings::notices::{Level, WebhookId};
    use crate::store::record::Addressee;
    use crate::token::{MessageId, TokenId};

    const SCHEMA: &str = include_str!("../../docs/webhook.schema.json");
    /// 23 November 2026, 20:00 UTC.
    pub(in crate::notify) const AT_MS: i64 = 1_795_464_000_000;

    pub(in crate::notify) fn event(kind: EventKind, verdict: Verdict, first: bool) -> News {
        let event = Event {
            at_ms: AT_MS,
            id: TokenId { message: MessageId(0xa1), recipient: 7, link: u16::from(kind == EventKind::Click) },
            kind,
            verdict,
            rule: String::new(),
            former: None,
            repeats: 0,
            country: Some("PT".to_owned()),
            city: Some("Lisbon".to_owned()),
            via: Some(Via::Relay),
            agent_family: Some("Apple Mail".to_owned()),
            os_family: None,
            device_family: None,
            network_hash: Some([1; 8]),
            evidence: None,
        };
        let entry = TimelineEntry {
            sequence: 42,
            event,
            recipient: Some(Addressee { address: "bob@reader.example".to_owned(), name: "Bob Reader".to_owned() }),
            subject: "The offer".to_owned(),
            destination: (kind == EventKind::Click).then(|| "https://shop.example/offer".to_owned()),
            org: Some("acme".parse().unwrap()),
            login: Some("ann".to_owned()),
        };
        News::Event {
            entry: Box::new(entry),
            first,
            reverse_path: "ann@acme.example".to_owned(),
            message_id_header: "<offer@acme.example>".to_owned(),
        }
    }

    pub(in crate::notify) fn refused() -> News {
        News::Refused {
            at_ms: AT_MS,
            message: MessageId(0xa1),
            org: "acme".parse().unwrap(),
            login: None,
            subject: "The offer".to_owned(),
            message_id_header: "<offer@acme.example>".to_owned(),
            index: 7,
            recipient: "bob@reader.example".to_owned(),
            reply: "550 5.1.1 <bob@reader.example>: no such user".to_owned(),
        }
    }

    pub(in crate::notify) fn webhook(id: u64) -> Webhook {
        Webhook {
            id: WebhookId(id),
            org: "acme".parse().unwrap(),
            login: None,
            url: "https://hooks.example/".to_owned(),
            topics: Topic::ALL.to_vec(),
            level: Level::First,
            words: true,
            paused: false,
            sealed_secret: Vec::new(),
            created_at_ms: AT_MS,
        }
    }

    /// Every kind of thing that is sent, with and without words.
    fn samples() -> Vec<String> {
        let mut news = vec![refused()];
        for kind in [EventKind::Open, EventKind::Click] {
            for verdict in [Verdict::Person, Verdict::Proxy, Verdict::Unknown] {
                news.push(event(kind, verdict, kind == EventKind::Open));
            }
        }
        if let News::Event { mut entry, .. } = event(EventKind::Click, Verdict::Proxy, false) {
            (entry.event.country, entry.event.city, entry.event.via) = (None, None, None);
            (entry.event.agent_family, entry.recipient, entry.destination, entry.login) = (None, None, None, None);
            let (reverse_path, message_id_header) = (String::new(), String::new());
            news.push(News::Event { entry, first: false, reverse_path, message_id_header });
        }
        let with_and_without = news.iter().flat_map(|news| [body(news, true), body(news, false)]);
        with_and_without.chain([test(AT_MS, &webhook(1))]).collect()
    }

    #[test]
    fn a_payload_word_for_word() {
        let sent: Value = serde_json::from_str(&body(&event(EventKind::Open, Verdict::Person, true), true)).unwrap();
        let expected = json!({
            "type": "message.opened",
            "timestamp": "2026-11-23T20:00:00.000Z",
            "data": {
                "event": 42,
                "message": {
                    "id": "00000000000000a1", "org": "acme", "login": "ann", "subject": "The offer",
                    "message_id": "<offer@acme.example>"
                },
                "recipient": "bob@reader.example",
                "recipient_name": "Bob Reader",
                "verdict": "person",
                "first": true,
                "place": {"country": "PT", "city": "Lisbon", "via": "relay"},
                "client": {"name": "Apple Mail", "os": null, "device": null}
            }
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn without_words_nobody_is_in_it() {
        for news in
            [refused(), event(EventKind::Open, Verdict::Person, true), event(EventKind::Click, Verdict::Person, false)]
        {
            let sent = body(&news, false);
            for word in ["bob", "reader", "offer", "Lisbon", "PT", "Apple", "relay", "550"] {
                assert!(!sent.contains(word), "{word} is in {sent}");
            }
        }
    }

    #[test]
    fn what_is_sent_is_what_the_schema_says() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        for sample in samples() {
            let value: Value = serde_json::from_str(&sample).unwrap();
            let problems = problems(&schema, &schema, &value, "");
            assert!(problems.is_empty(), "{sample}: {problems:?}");
        }
        // The check can fail: a key too many, a key too few, a word that is none, a type that is none.
        let good: Value = serde_json::from_str(&samples()[2]).unwrap();
        for (pointer, wrong) in [
            ("/data/more", json!(1)),
            ("/data/verdict", json!("machine")),
            ("/timestamp", json!(7)),
            ("/type", json!("x")),
        ] {
            let mut bad = good.clone();
            match bad.pointer_mut(pointer) {
                Some(place) => *place = wrong,
                None => bad["data"]["more"] = wrong,
            }
            assert!(!problems(&schema, &schema, &bad, "").is_empty(), "{pointer}");
        }
        let mut bad = good;
        bad["data"].as_object_mut().unwrap().remove("recipient");
        assert!(!problems(&schema, &schema, &bad, "").is_empty());
    }

    /// The words of JSON Schema that the file uses, and no others.
    fn problems(root: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
        let mut found = Vec::new();
        for (word, says) in schema.as_object().unwrap() {
            let fits = match word.as_str() {
                "$schema" | "$id" | "$defs" | "title" | "description" | "format" => true,
                "$ref" => {
                    let target = root.pointer(says.as_str().unwrap().trim_start_matches('#')).unwrap();
                    found.extend(problems(root, target, value, at));
                    true
                }
                "oneOf" => {
                    let all = says.as_array().unwrap().iter();
                    all.filter(|one| problems(root, one, value, at).is_empty()).count() == 1
                }
                "const" => value == says,
                "enum" => says.as_array().unwrap().contains(value),
                "type" => match says {
                    Value::Array(types) => types.iter().any(|one| is(value, one)),
                    one => is(value, one),
                },
                "required" => value.as_object().is_none_or(|object| {
                    says.as_array().unwrap().iter().all(|key| object.contains_key(key.as_str().unwrap()))
                }),
                "additionalProperties" => {
                    let known = schema["properties"].as_object().unwrap();
                    value.as_object().is_none_or(|object| object.keys().all(|key| known.contains_key(key)))
                }
                "properties" => {
                    for (key, schema) in says.as_object().unwrap() {
                        if let Some(value) = value.get(key) {
                            found.extend(problems(root, schema, value, &format!("{at}/{key}")));
                        }
                    }
                    true
                }
                other => panic!("the schema uses {other}, which this test does not know"),
            };
            if !fits {
                found.push(format!("{at}: {word} {says}"));
            }
        }
        found
    }

    fn is(value: &Value, name: &Value) -> bool {
        match name.as_str().unwrap() {
            "object" => value.is_object(),
            "string" => value.is_string(),
            "integer" => value.is_i64(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("no type: {other}"),
        }
    }
}
