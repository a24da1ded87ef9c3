//! A line of the audit log on disk: version byte, then JSON.

use serde::{Deserialize, Serialize};

use super::{Unreadable, decode, encode, org_name, parse};
use crate::store::audit::{Action, Author, Field, Line, Via};

/// Encoded; its number is its key.
pub(in crate::store) fn encode_line(line: &Line) -> Result<Vec<u8>, Unreadable> {
    encode(&LineV1 {
        at_ms: line.at_ms,
        via: line.author.via.as_str().to_owned(),
        login: line.author.login.clone(),
        by_server_admin: line.by_server_admin,
        from: line.author.from.map(|from| from.to_string()),
        org: line.org.as_ref().map(|org| org.as_str().to_owned()),
        subject: line.subject.clone(),
        action: line.action.as_str().to_owned(),
        fields: line.fields.iter().map(|f| (f.name.clone(), f.before.clone(), f.after.clone())).collect(),
    })
}

/// Reads [`encode_line`].
pub(in crate::store) fn decode_line(sequence: u64, value: &[u8]) -> Result<Line, Unreadable> {
    let stored: LineV1 = decode(value)?;
    let fields = stored.fields.into_iter().map(|(name, before, after)| Field { name, before, after }).collect();
    let from = stored.from.as_deref().map(|text| parse(text, "address", |t| t.parse().ok())).transpose()?;
    let via = parse(&stored.via, "way", Via::named)?;
    Ok(Line {
        sequence,
        at_ms: stored.at_ms,
        author: Author { via, login: stored.login, from },
        by_server_admin: stored.by_server_admin,
        org: stored.org.as_deref().map(org_name).transpose()?,
        subject: stored.subject,
        action: parse(&stored.action, "action", Action::named)?,
        fields,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LineV1 {
    at_ms: i64,
    via: String,
    login: Option<String>,
    from: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    by_server_admin: bool,
    org: Option<String>,
    subject: String,
    action: String,
    /// Name, before, after.
    fields: Vec<(String, Option<String>, Option<String>)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written is read, and these are its very bytes in version 1.
    #[test]
    fn a_line() {
        let line = Line {
            sequence: 7,
            at_ms: 5,
            author: Author { via: Via::Dashboard, login: Some("ann".into()), from: Some([192, 0, 2, 1].into()) },
            by_server_admin: false,
            org: Some("acme".parse().unwrap()),
            subject: "organisation acme".into(),
            action: Action::Changed,
            fields: vec![Field { name: "opens".into(), before: None, after: Some("off".into()) }],
        };
        let stored = encode_line(&line).unwrap();
        assert_eq!(decode_line(7, &stored), Ok(line));
        let expected = "\u{1}{\"at_ms\":5,\"via\":\"dashboard\",\"login\":\"ann\",\"from\":\"192.0.2.1\",\"org\":\"acme\",\
            \"subject\":\"organisation acme\",\"action\":\"changed\",\"fields\":[[\"opens\",null,\"off\"]]}";
        assert_eq!(String::from_utf8(stored).unwrap(), expected);
    }
}
