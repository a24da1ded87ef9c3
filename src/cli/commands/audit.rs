//! `waxseal audit`

use clap::Args;

use super::super::client::{Client, query};
use super::super::table::{clean, print, print_json, time};
use crate::admin::api::shapes::{AuditLine, AuditLines, AuditValue};

#[derive(Debug, Args)]
pub(in crate::cli) struct Command {
    /// Only of this organisation
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
    /// Only lines before this number
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// At most this many, 1 to 1000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    form: super::super::Form,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    let asked = query(&[
        ("org", command.org),
        ("before", command.before.map(|before| before.to_string())),
        ("limit", Some(command.limit.to_string())),
    ]);
    let answer: AuditLines = client.get(&format!("/api/v1/audit?{asked}")).await?;
    if command.form.json {
        return print_json(&answer);
    }
    let lines: String = answer.lines.iter().map(told).collect();
    print(if lines.is_empty() { "nothing was changed yet\n" } else { &lines })?;
    match answer.next {
        Some(next) => Ok(print(&format!("older ones: waxseal audit --before {next}\n"))?),
        None => Ok(()),
    }
}

/// A change: one line, and one below it for each value.
fn told(line: &AuditLine) -> String {
    let by = [line.login.clone(), Some(line.via.clone()), line.from.clone()]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    let head = format!("{:>6}  {}  {} {}  ({by})", line.number, time(&line.at), line.subject, line.action);
    let values: String = line.values.iter().map(|value| format!("        {}\n", clean(&change(value)))).collect();
    format!("{}\n{values}", clean(&head))
}

fn change(AuditValue { name, before, after }: &AuditValue) -> String {
    match (before, after) {
        (Some(before), Some(after)) => format!("{name}: {before} → {after}"),
        (None, Some(after)) => format!("{name}: {after}"),
        (Some(before), None) => format!("{name}: {before} → none"),
        (None, None) => name.clone(),
    }
}
