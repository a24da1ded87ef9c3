//! `GET` and `POST /p/<token>`: what is recorded of one recipient's mail, by whom, and one button to stop it.
//!
//! **Invariants:** the page is answered from the token, the key and the snapshot in memory, so it outlives retention,
//! erasure and the history. It never shows an address. Only a POST that a person made on this very page changes
//! anything; a "no" is durable before its answer.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use askama::Template;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Body;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, ORIGIN, REFERRER_POLICY,
    RETRY_AFTER, X_FRAME_OPTIONS,
};
use hyper::{HeaderMap, Request, Response, StatusCode};

use super::page::X_ROBOTS_TAG;
use super::router::Answer;
use super::{Site, page, visit};
use crate::settings::privacy::{Act, NotDone, Says};
use crate::settings::{Mode, OrgName, Tracking};
use crate::store::consents::Said;
use crate::token::{Kind, PersonId};

/// Octets of a form: one short field.
const FORM_BYTES_MAX: usize = 1024;
/// Seconds for a form to come and for its answer to be durable.
const POST_MAX: Duration = Duration::from_secs(10);

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The page.
#[derive(Template)]
#[template(path = "preference.html")]
struct Page<'a> {
    org: &'a str,
    style: &'static str,
    state: State,
    page_text: Option<&'a str>,
}

/// What the page is about.
enum State {
    /// Stopped here.
    Stopped,
    /// Not here, but the organisation noted a no.
    Noted,
    /// Neither; what may be learned.
    Asked(Vec<&'static str>),
}

/// Whose page a token opens.
struct Reader {
    person: PersonId,
    org: OrgName,
}

/// The page, or 404.
pub(super) fn show<B>(site: &Site, peer: IpAddr, request: &Request<B>, token: &str) -> Answer {
    match reader(site, request, token) {
        Some(reader) => shown(site, &reader),
        None => site.bad_token(peer, request),
    }
}

/// Takes the form, and answers with the way back to the page.
pub(super) async fn decide<B>(site: &Site, peer: IpAddr, request: Request<B>, token: &str) -> Answer
where
    B: Body<Data = Bytes> + Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let Some(reader) = reader(site, &request, token) else { return site.bad_token(peer, &request) };
    if !is_from_this_page(site, request.headers(), visit::host(&request)) {
        let words = "This choice was not made on its own page. Open the link from your mail in a browser.\n";
        return page::plain(StatusCode::FORBIDDEN, words);
    }
    let form = Limited::new(request.into_body(), FORM_BYTES_MAX).collect();
    let act = match tokio::time::timeout(POST_MAX, form).await {
        Ok(Ok(form)) => chosen(&form.to_bytes()),
        Ok(Err(_)) | Err(_) => None,
    };
    let Some(act) = act else {
        return page::plain(StatusCode::BAD_REQUEST, "The form says neither stop nor allow.\n");
    };
    let said = Said {
        person: reader.person,
        act,
        at_ms: now_ms(),
        source: "preference page".to_owned(),
        wording: wording(act).to_owned(),
    };
    let noting = site.privacy.consents.note(&reader.org, vec![said]);
    match tokio::time::timeout(POST_MAX, noting).await {
        Ok(Ok(answers)) => match answers.first() {
            Some(Err(NotDone::TooOften)) => {
                let words = "This was changed so often that only a stop is taken here. Ask the sender of the mail.\n";
                page::plain(StatusCode::TOO_MANY_REQUESTS, words)
            }
            _ => back(token),
        },
        Ok(Err(error)) => {
            tracing::error!(%error, "a recipient's choice could not be kept");
            unavailable()
        }
        Err(_) => unavailable(),
    }
}

/// The words of the button, as the ledger keeps them.
fn wording(act: Act) -> &'static str {
    match act {
        Act::Allow => "Take my \u{201c}no\u{201d} back",
        _ => "Stop: record nothing about me",
    }
}

fn reader<B>(site: &Site, request: &Request<B>, token: &str) -> Option<Reader> {
    let opened = site.keyring.load().open_at(visit::host(request), Kind::Preference, token).ok()?;
    let (person, org) = PersonId::from_payload(&opened.payload)?;
    Some(Reader { person, org: org.parse().ok()? })
}

/// A browser says where a form comes from; what says nothing is no browser, and has the token from the mail itself.
fn is_from_this_page(site: &Site, headers: &HeaderMap, host: Option<&str>) -> bool {
    if let Some(from) = headers.get(SEC_FETCH_SITE) {
        return from == "same-origin";
    }
    let Some(origin) = headers.get(ORIGIN) else { return true };
    let Some((_, authority)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else { return false };
    // A proxy may say another host than the browser saw: any that is ours will do.
    let is_ours = |url: &String| url.split_once("://").is_some_and(|(_, known)| known.eq_ignore_ascii_case(authority));
    host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
        || site.keyring.load().sites().iter().any(|site| is_ours(&site.url) || site.former_urls.iter().any(is_ours))
}

fn chosen(form: &[u8]) -> Option<Act> {
    let mut choices = form.split(|b| *b == b'&').filter_map(|field| field.strip_prefix(b"choice="));
    match (choices.next(), choices.next()) {
        (Some(b"stop"), None) => Some(Act::Stop),
        (Some(b"allow"), None) => Some(Act::Allow),
        _ => None,
    }
}

fn shown(site: &Site, reader: &Reader) -> Answer {
    let snapshot = site.settings.snapshot();
    let org = snapshot.orgs.get(&reader.org);
    let standing = snapshot.people.standing(&reader.org, reader.person);
    let state = match (standing.stopped, standing.says()) {
        (true, _) => State::Stopped,
        (false, Says::No) => State::Noted,
        (false, says) => State::Asked(org.map_or_else(Vec::new, |org| {
            let rule = site.privacy.consent.load().narrowed_by(&org.privacy);
            let tracking = site.privacy.ceiling.load().narrowed_by(org.choice).narrowed_by(rule.choice_for(says));
            learned(tracking, org.keeping.raw_evidence)
        })),
    };
    let name = org.and_then(|org| org.privacy.shown_name.as_deref()).unwrap_or(reader.org.as_str());
    let page_text = org.and_then(|org| org.privacy.page_text.as_deref());
    match (Page { org: name, style: page::STYLE, state, page_text }).render() {
        Ok(html) => answer(StatusCode::OK, html),
        Err(error) => {
            tracing::error!(%error, "the preference page cannot be written");
            unavailable()
        }
    }
}

/// What these switches let the sender learn, in words for the recipient.
fn learned(tracking: Tracking, raw_evidence: bool) -> Vec<&'static str> {
    let opens = match tracking.opens {
        Mode::Individual => {
            Some("whether and when you opened a mail, roughly where, and with what kind of program and device")
        }
        Mode::Aggregate => Some("how often a mail was opened by all who got it, not by whom"),
        Mode::Off => None,
    };
    let links = match tracking.links {
        Mode::Individual => Some("which links of a mail you followed, when, and roughly where"),
        Mode::Aggregate => Some("how often the links of a mail were followed by all who got it, not by whom"),
        Mode::Off => None,
    };
    let individual = tracking.opens.max(tracking.links) == Mode::Individual;
    let raw = (raw_evidence && individual).then_some("the network address and the exact program you did that with");
    opens.into_iter().chain(links).chain(raw).collect()
}

/// 303 to the page itself, named relative to where it stands: a proxy may serve it under another host.
fn back(token: &str) -> Answer {
    let mut answer = answer(StatusCode::SEE_OTHER, String::new());
    if let Ok(location) = HeaderValue::from_str(token) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}

fn unavailable() -> Answer {
    let words = "Your choice could not be kept just now. Nothing has changed; try again in a minute.\n";
    let mut answer = page::plain(StatusCode::SERVICE_UNAVAILABLE, words);
    answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("60"));
    answer
}

fn answer(status: StatusCode, html: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(html)));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store, private"),
        // Not "no-referrer": then a browser would not say where the form comes from. Nobody else is told either way.
        (REFERRER_POLICY, "same-origin"),
        (X_FRAME_OPTIONS, "DENY"),
        (X_ROBOTS_TAG, "noindex"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.insert(CONTENT_SECURITY_POLICY, page::policy_with_form());
    answer
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_choice_and_no_more() {
        let rows: &[(&[u8], Option<Act>)] = &[
            (b"choice=stop", Some(Act::Stop)),
            (b"choice=allow&x=1", Some(Act::Allow)),
            (b"", None),
            (b"choice=", None),
            (b"choice=stopp", None),
            (b"choice=stop&choice=allow", None),
        ];
        for (form, act) in rows {
            assert_eq!(chosen(form), *act, "{form:?}");
        }
    }

    #[test]
    fn what_is_off_is_not_said_to_be_learned() {
        let all = |mode| Tracking { opens: mode, links: mode, text_links: false };
        assert_eq!(learned(all(Mode::Off), true), Vec::<&str>::new());
        assert_eq!(learned(all(Mode::Individual), false).len(), 2);
        assert_eq!(learned(all(Mode::Individual), true).len(), 3);
        assert!(learned(all(Mode::Aggregate), true).iter().all(|line| line.ends_with("not by whom")));
    }
}
