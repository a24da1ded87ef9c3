//! What every answer carries, and what a source that shows many broken links is told.

use super::*;
use crate::token::PersonId;

/// Each kind of answer there is; what each may load is its own affair, but none may load anything from elsewhere.
#[tokio::test]
async fn every_answer_carries_the_headers() {
    let challenges: Arc<Challenges> = Arc::default();
    let _offered = challenges.offer("tok-en_1", "tok-en_1.thumb");
    let site = Running::start(Options { challenges: Arc::clone(&challenges), ..Options::default() }).await;
    let preference =
        site.keyring.load().sealer(HOME, 0).unwrap().seal(Kind::Preference, ID, &PersonId([9; 16]).payload("acme"));
    let (click, pixel) = (site.path(HOME, Kind::Click), site.path(HOME, Kind::Pixel));
    let withdrawn = Change::PutOverride(ID.message, ID.link + 1, Override::Withdrawn);
    site.settings.change(vec![withdrawn]).await.unwrap();
    let gone = {
        let id = TokenId { link: ID.link + 1, ..ID };
        let token = site.keyring.load().sealer(HOME, 0).unwrap().seal(Kind::Click, id, DESTINATION.as_bytes());
        format!("/c/{token}")
    };
    let rows = [
        ("GET", click.clone(), 302),
        ("HEAD", click, 302),
        ("GET", gone, 410),
        ("GET", pixel, 200),
        ("GET", "/i/broken.gif".to_owned(), 200),
        ("GET", "/c/broken".to_owned(), 404),
        ("GET", format!("/p/{preference}"), 200),
        ("POST", format!("/p/{preference}"), 400),
        ("GET", "/p/broken".to_owned(), 404),
        ("GET", "/n/broken".to_owned(), 404),
        ("GET", "/.well-known/acme-challenge/tok-en_1".to_owned(), 200),
        ("GET", "/.well-known/acme-challenge/other".to_owned(), 404),
        ("GET", "/healthz".to_owned(), 200),
        ("DELETE", "/".to_owned(), 405),
        ("GET", "/".to_owned(), 404),
    ];
    for (method, path, status) in rows {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: t.example.com\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        let reply = site.ask(&request).await;
        assert_eq!(reply.status, status, "{method} {path}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{method} {path}");
        let policy = reply.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}: {policy}");
        assert_eq!(reply.headers.iter().filter(|(name, _)| name == "content-security-policy").count(), 1, "{path}");
        assert_eq!(reply.header("set-cookie"), None, "{path}");
        // in clear a browser would not believe it
        assert_eq!(reply.header("strict-transport-security"), None, "{path}");
    }
}

#[test]
fn over_tls_browsers_are_told_to_come_in_no_other_way() {
    let bare = || hyper::Response::new(http_body_util::Full::default());
    let said = |https| {
        let answer = headers::complete(bare(), https);
        answer.headers().get("strict-transport-security").map(|value| value.to_str().unwrap().to_owned())
    };
    assert_eq!([said(false), said(true)], [None, Some("max-age=31536000".to_owned())]);
}

/// Broken links beyond the limit are 429; the pixel stays an image, and what opens is served whatever was asked before.
#[tokio::test]
async fn a_source_of_broken_links_is_told_to_wait() {
    let trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let options = Options { trusted_proxies, bad_tokens_per_minute_max: 3, ..Options::default() };
    let site = Running::start(options).await;
    let (click, pixel) = (site.path(HOME, Kind::Click), site.path(HOME, Kind::Pixel));
    let ask = async |path: &str, from: &str| {
        site.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {from}\r\nConnection: close\r\n\r\n"))
            .await
    };
    for path in ["/c/x", "/p/y", "/c/z"] {
        assert_eq!(ask(path, "192.0.2.1").await.status, 404, "{path}");
    }
    for path in ["/c/x", "/p/x"] {
        let limited = ask(path, "192.0.2.1").await;
        assert_eq!((limited.status, limited.header("location")), (429, None), "{path}");
        let wait: u64 = limited.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    assert_eq!((site.counters.bad_tokens(), site.counters.limited()), (5, 2));
    assert_eq!(ask(&click, "192.0.2.1").await.header("location"), Some(DESTINATION));
    assert_eq!(ask(&pixel, "192.0.2.1").await.body, pixel::GIF);
    assert_eq!(ask("/i/broken.gif", "192.0.2.1").await.body, pixel::GIF);
    assert_eq!(ask("/c/x", "192.0.2.2").await.status, 404, "another source");
    assert_eq!(site.end().await.len(), 2);
}
