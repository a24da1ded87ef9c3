//! The health page and its JSON: what each role sees of one report.

use super::fixture::{HOSTILE, org_name, world};
use crate::admin::{Glance, HealthKeeper};
use crate::health::report::UPSTREAM;
use crate::health::{Area, Check, Report};
use crate::settings::OrgName;
use crate::store::BoxFuture;

/// A report with one of each state, for two organisations and the server.
pub(super) struct Examined;

fn report() -> Report {
    let of = |check: Check, org: &str| check.about(format!("https://t.{org}.example")).of_org(Some(&org_name(org)));
    let checks = vec![
        Check::ok(Area::Tracking, "tracking.site", "answers in 3 ms").about("https://t.example"),
        of(Check::warn(Area::Tracking, "tracking.hsts", "no HSTS of acme", "add the header"), "acme"),
        of(Check::fail(Area::Tracking, "tracking.dns", "no address of other", "add a record"), "other"),
        Check::fail(Area::Upstream, UPSTREAM, format!("smtp.secret.example: {HOSTILE}"), "open the firewall"),
        Check::unknown(Area::Storage, "storage.disk", "the file system does not say", ""),
        Check::skipped(Area::Process, "process.geo", "no database"),
    ];
    Report::new(super::fixture::START_MS, true, checks)
}

impl HealthKeeper for Examined {
    fn look(&self, _: Option<OrgName>) -> BoxFuture<'_, Report> {
        Box::pin(async { report() })
    }

    fn glance(&self, _: Option<OrgName>) -> Glance {
        Glance { report: Some(report()), looking: true }
    }
}

/// The page, the tab and the JSON go by the role; upstream's words are for the server admin.
#[tokio::test]
async fn who_sees_what_of_a_report() {
    let world = world().await;
    // (login, what is there, what is not)
    let rows: &[(&str, &[&str], &[&str])] = &[
        (
            "root",
            &["answers in 3 ms", "no address of other", "smtp.secret.example", "does not say", "2 not working"],
            &[],
        ),
        (
            "boss",
            &["no HSTS of acme", "add the header", "upstream is not reachable"],
            &["answers in 3 ms", "no address of other", "secret", "does not say"],
        ),
        ("chief", &["no address of other", "upstream is not reachable"], &["no HSTS of acme", "secret"]),
    ];
    for (login, there, absent) in rows {
        let browser = world.logged_in(login);
        for path in ["/health", "/api/v1/health"] {
            let answer = browser.get(path).await;
            assert_eq!(answer.status, 200, "{login} {path}");
            for words in there.iter().filter(|words| path == "/health" || !words.contains("not working")) {
                assert!(answer.text.contains(words), "{login} {path}: {words}\n{}", answer.text);
            }
            assert!(absent.iter().all(|words| !answer.text.contains(words)), "{login} {path}: {}", answer.text);
        }
        let page = browser.get("/health").await;
        assert!(page.text.contains("A new look is under way"), "{login}: {}", page.text);
        let policy = page.header("content-security-policy");
        assert!(policy.contains("connect-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert!(!browser.get("/health").await.text.contains(HOSTILE), "what upstream says is escaped");
        assert!(browser.get("/").await.text.contains("href=\"/health\""), "{login} has the tab");
    }
    let ann = world.logged_in("ann");
    assert_eq!(ann.get("/api/v1/health").await.status, 403);
    assert!(!ann.get("/").await.text.contains("href=\"/health\""));
    let json: serde_json::Value =
        serde_json::from_str(&world.logged_in("root").get("/api/v1/health").await.text).unwrap();
    assert_eq!(
        (json["state"].as_str(), json["ok"].as_bool(), json["running"].as_bool()),
        (Some("fail"), Some(false), Some(true))
    );
    assert_eq!(json["checks"].as_array().map(Vec::len), Some(6));
}
