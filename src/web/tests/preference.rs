//! The recipient's page over a real socket: what it shows, what changes a standing and what never does.

use super::*;
use crate::settings::privacy::Says;
use crate::token::PersonId;

const PERSON: PersonId = PersonId([9; 16]);

impl Running {
    /// The path of the page of [`PERSON`] and `acme`.
    fn page(&self) -> String {
        let token = self.keyring.load().sealer(HOME, 0).unwrap().seal(Kind::Preference, ID, &PERSON.payload("acme"));
        format!("/p/{token}")
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> Reply {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: t.example.com\r\nConnection: close\r\nContent-Length: {length}\r\n");
        self.ask(&format!("{head}{headers}\r\n{body}")).await
    }

    fn says(&self) -> Says {
        self.settings.snapshot().people.standing(&"acme".parse().unwrap(), PERSON).says()
    }
}

#[tokio::test]
async fn the_recipients_page_stops_and_allows() {
    let site = Running::start(Options::default()).await;
    let page = site.page();
    let shown = site.get(&page).await;
    assert_eq!(shown.status, 200);
    assert!(shown.text().contains("Stop: record nothing about me") && shown.text().contains("<strong>acme</strong>"));
    // the way back is the page, which now says so; again changes nothing
    for _ in 0..2 {
        let done = site.post(&page, "Sec-Fetch-Site: same-origin\r\n", "choice=stop").await;
        assert_eq!((done.status, done.header("location")), (303, page.strip_prefix("/p/")));
        assert_eq!(site.says(), Says::No);
    }
    assert!(site.get(&page).await.text().contains("Nothing is recorded about you"));
    let ledger = site.settings.ledger(&"acme".parse().unwrap(), PERSON).await.unwrap();
    assert_eq!(ledger.len(), 1, "{ledger:?}");
    assert_eq!(site.post(&page, "", "choice=allow").await.status, 303);
    assert_eq!(site.says(), Says::Nothing);
    site.end().await;
}

#[tokio::test]
async fn only_a_persons_own_post_changes_anything() {
    let site = Running::start(Options::default()).await;
    let page = site.page();
    // looking, prefetching, HEAD: a page and nothing else
    for request in ["GET", "HEAD"] {
        let purpose = "Sec-Purpose: prefetch\r\nPurpose: prefetch\r\n";
        let query = format!("{request} {page}?choice=stop HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{purpose}\r\n");
        assert_eq!(site.ask(&query).await.status, 200);
    }
    // another site's form, a form without a choice, one too large, another method
    for (headers, body, status) in [
        ("Sec-Fetch-Site: cross-site\r\n", "choice=stop", 403),
        ("Sec-Fetch-Site: same-site\r\n", "choice=stop", 403),
        ("Origin: https://evil.example\r\n", "choice=stop", 403),
        ("Origin: null\r\n", "choice=stop", 403),
        ("", "", 400),
        ("", "choice=maybe", 400),
    ] {
        assert_eq!(site.post(&page, headers, body).await.status, status, "{headers}{body}");
    }
    assert_eq!(site.post(&page, "", &format!("x={}&choice=stop", "y".repeat(2000))).await.status, 400);
    let put = format!("DELETE {page} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(site.ask(&put).await.status, 405);
    assert_eq!(site.says(), Says::Nothing);
    // a browser that says only its origin
    assert_eq!(site.post(&page, "Origin: https://t.example.com\r\n", "choice=stop").await.status, 303);
    assert_eq!(site.says(), Says::No);
    // a POST to a pixel or a link stays refused
    assert_eq!(site.post(&site.path(HOME, Kind::Click), "", "choice=stop").await.status, 405);
    site.end().await;
}

#[tokio::test]
async fn a_bad_token_has_no_page() {
    let site = Running::start(Options::default()).await;
    let page = site.page();
    let other_kind = site.path(HOME, Kind::Pixel).replace("/i/", "/p/").replace(".gif", "");
    let mut cut = page.clone();
    cut.pop();
    let no_payload = site.path(HOME, Kind::Preference);
    for path in ["/p/", "/p/AAAA", other_kind.as_str(), no_payload.as_str(), cut.as_str()] {
        assert_eq!(site.get(path).await.status, 404, "{path}");
        assert_eq!(site.post(path, "", "choice=stop").await.status, 404, "{path}");
    }
    assert_eq!(site.counters.bad_tokens(), 10);
    site.end().await;
}

#[tokio::test]
async fn the_page_keeps_to_itself() {
    let site = Running::start(Options::default()).await;
    let shown = site.get(&site.page()).await;
    for (name, value) in [
        ("cache-control", "no-store, private"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("x-robots-tag", "noindex"),
    ] {
        assert_eq!(shown.header(name), Some(value), "{name}");
    }
    assert_eq!(shown.header("set-cookie"), None);
    let policy = shown.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
    // the style that stands there is the style the policy names
    let text = shown.text();
    let style = text.split("<style>").nth(1).unwrap().split("</style>").next().unwrap();
    use base64::Engine as _;
    use sha2::Digest as _;
    let hash = base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(style));
    assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
    assert!(!text.contains("<script") && !text.contains("src="));
    site.end().await;
}

impl Reply {
    fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}
