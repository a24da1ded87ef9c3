//! `waxseal figures`

use clap::Args;

use super::super::Form;
use super::super::client::{Client, query};
use super::super::table::{Table, print_json};
use crate::admin::api::shapes::Figures;

#[derive(Debug, Args)]
pub(in crate::cli) struct Command {
    /// Only mail of this organisation
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
    /// Only mail of this login
    #[arg(long)]
    login: Option<String>,
    /// So many days up to today, UTC
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    #[command(flatten)]
    form: Form,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    let Command { org, login, days, form } = command;
    let query = query(&[("org", org), ("login", login), ("days", Some(days.to_string()))]);
    let figures: Figures = client.get(&format!("/api/v1/figures?{query}")).await?;
    if form.json {
        return print_json(&figures);
    }
    let mut table = Table::new(&["day", "opens", "clicks", "machine opens", "machine clicks"]);
    for of in figures.days {
        let counts = [of.counts.opens, of.counts.clicks, of.counts.machine_opens, of.counts.machine_clicks];
        if counts.iter().any(|count| *count != 0) {
            let [opens, clicks, machine_opens, machine_clicks] = counts.map(|count| count.to_string());
            table.row([of.day, opens, clicks, machine_opens, machine_clicks]);
        }
    }
    Ok(table.print("nothing was opened or clicked in these days")?)
}
