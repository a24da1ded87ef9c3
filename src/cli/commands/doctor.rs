//! `waxseal doctor`: the running server looks at itself; where it does not run, its files are looked at from here.

use std::process::ExitCode;

use anyhow::anyhow;

use super::super::client::Client;
use super::super::table::{clean, print, print_json};
use super::super::{Form, Place};
use crate::admin::api::shapes::{Health, HealthCheck};
use crate::config::load::Source;
use crate::health::Area;

/// Prints the report; fails when something in it does.
pub(in crate::cli) fn run(place: &Place, form: Form) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let health = runtime.block_on(report(place))?;
    if form.json {
        print_json(&health)?;
    } else {
        print(&text(&health))?;
    }
    Ok(if health.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn report(place: &Place) -> anyhow::Result<Health> {
    let client = Client::at(place)?;
    if client.is_answered().await? {
        return client.get("/api/v1/health").await;
    }
    let source = Source::fetch(place.config.as_deref()).map_err(|problem| anyhow!("{problem}"))?;
    let parsed = source.parse().map_err(|_| anyhow!("the configuration is wrong: `waxseal check` tells how"))?;
    Ok(crate::app::health::offline(&parsed.config).await.into())
}

/// Which of several, and whose.
fn about(check: &HealthCheck) -> String {
    match (check.subject.as_str(), &check.org) {
        ("", None) => String::new(),
        ("", Some(org)) => format!("{org}: "),
        (subject, None) => format!("{subject}: "),
        (subject, Some(org)) => format!("{subject} ({org}): "),
    }
}

/// By area; what is not well with what mends it.
fn text(health: &Health) -> String {
    let mut out = String::new();
    for area in Area::ALL {
        let of_area: Vec<_> = health.checks.iter().filter(|check| check.area == area.as_str()).collect();
        if of_area.is_empty() {
            continue;
        }
        out.push_str(&format!("{}\n", area.title()));
        for check in of_area {
            let about = about(check);
            out.push_str(&format!("  {:<8}{}{}\n", check.state, clean(&about), clean(&check.seen)));
            if !check.fix.is_empty() {
                out.push_str(&format!("  {:<8}→ {}\n", "", clean(&check.fix)));
            }
        }
    }
    let count = |state: &str| health.checks.iter().filter(|check| check.state == state).count();
    let (fail, warn, unknown) = (count("fail"), count("warn"), count("unknown"));
    let sum = match (fail, warn, unknown) {
        (0, 0, 0) => "everything works".to_owned(),
        _ => format!("{fail} fail, {warn} to look at, {unknown} unknown"),
    };
    out.push_str(&format!("{sum}\n"));
    out
}
