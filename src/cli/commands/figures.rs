//! `waxseal figures`

use clap::{Args, ValueEnum};

use super::super::Form;
use super::super::client::{Client, query};
use super::super::table::{Table, print_json};
use crate::admin::api::shapes::{Counts, Figures, Places, RankedLinks, Senders};

#[derive(Debug, Args)]
pub(in crate::cli) struct Command {
    /// Only mail of this organisation
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
    /// Only mail of this login
    #[arg(long)]
    login: Option<String>,
    /// So many days up to today, UTC; links and places look at 31 at most
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    days: u32,
    /// A line for each of these, the most first
    #[arg(long, value_enum, default_value = "day")]
    by: By,
    #[command(flatten)]
    form: Form,
}

/// What has a line of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Each day, oldest first.
    Day,
    /// Each sender.
    Sender,
    /// The 20 destinations followed most.
    Link,
    /// The 20 countries read in most.
    Place,
}

const NOTHING: &str = "nothing was opened or clicked in these days";

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    let Command { org, login, days, by, form } = command;
    let asked = query(&[("org", org), ("login", login), ("days", Some(days.to_string()))]);
    match by {
        By::Day => by_day(&client.get(&format!("/api/v1/figures?{asked}")).await?, form),
        By::Sender => by_sender(&client.get(&format!("/api/v1/figures/senders?{asked}")).await?, form),
        By::Link => by_link(&client.get(&format!("/api/v1/figures/links?{asked}")).await?, form),
        By::Place => by_place(&client.get(&format!("/api/v1/figures/places?{asked}")).await?, form),
    }
}

fn by_day(figures: &Figures, form: Form) -> anyhow::Result<()> {
    if form.json {
        return print_json(figures);
    }
    let mut table = Table::new(&["day", "opens", "clicks", "machine opens", "machine clicks"]);
    for of in &figures.days {
        let counts = told(&of.counts);
        if counts.iter().any(|count| count != "0") {
            let [opens, clicks, machine_opens, machine_clicks] = counts;
            table.row([of.day.clone(), opens, clicks, machine_opens, machine_clicks]);
        }
    }
    Ok(table.print(NOTHING)?)
}

fn by_sender(figures: &Senders, form: Form) -> anyhow::Result<()> {
    if form.json {
        return print_json(figures);
    }
    let mut table = Table::whole(&["sender", "org", "opens", "clicks", "machine opens", "machine clicks"]);
    for of in &figures.senders {
        let [opens, clicks, machine_opens, machine_clicks] = told(&of.counts);
        let login = of.login.clone().unwrap_or_else(|| "(trusted network)".to_owned());
        table.row([login, of.org.clone(), opens, clicks, machine_opens, machine_clicks]);
    }
    Ok(table.print(NOTHING)?)
}

fn by_link(figures: &RankedLinks, form: Form) -> anyhow::Result<()> {
    if form.json {
        return print_json(figures);
    }
    let mut table = Table::new(&["clicks", "machine clicks", "link"]);
    for of in &figures.links {
        table.row([of.clicks.to_string(), of.machine_clicks.to_string(), of.destination.clone()]);
    }
    Ok(table.print(NOTHING)?)
}

fn by_place(figures: &Places, form: Form) -> anyhow::Result<()> {
    if form.json {
        return print_json(figures);
    }
    let mut table = Table::new(&["country", "opens", "clicks"]);
    for of in &figures.places {
        table.row([of.country.clone(), of.opens.to_string(), of.clicks.to_string()]);
    }
    Ok(table.print("no place of a reader is known in these days")?)
}

fn told(counts: &Counts) -> [String; 4] {
    [counts.opens, counts.clicks, counts.machine_opens, counts.machine_clicks].map(|count| count.to_string())
}
