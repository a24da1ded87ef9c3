//! `waxseal people list|show`

use clap::{Args, Subcommand};

use super::super::Form;
use super::super::client::{Client, query, segment};
use super::super::table::{Table, clean, print, print_json, time};
use super::message::beside;
use crate::admin::api::shapes::{ReaderMails, Readers};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Whom mail was sent to, by address
    List(List),
    /// One of them: their mails, what they did with each, from where and with what
    Show(Show),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only of this organisation's mail
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
    /// Only of this login's
    #[arg(long)]
    login: Option<String>,
    /// Part of an address or a name
    #[arg(long, value_name = "TEXT")]
    address: Option<String>,
    /// At most this many, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// The page after: what the last line of a page said
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// Their address
    address: String,
    /// The page after: what the last line of a page said
    #[arg(long, value_name = "PLACE")]
    before: Option<String>,
    #[command(flatten)]
    form: Form,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(list) => list.run(client).await,
        Command::Show(show) => show.run(client).await,
    }
}

impl List {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let List { org, login, address, limit, after, form } = self;
        let limit = Some(limit.to_string());
        let asked = query(&[("org", org), ("login", login), ("address", address), ("limit", limit), ("after", after)]);
        let page: Readers = client.get(&format!("/api/v1/readers?{asked}")).await?;
        if form.json {
            return print_json(&page);
        }
        let mut table = Table::whole(&["address", "mails", "last", "opens", "clicks", "name"]);
        for one in page.readers {
            table.row([
                one.address,
                one.mails.to_string(),
                time(&one.last_at),
                beside(counted(one.opens), counted(one.machine_opens)),
                beside(counted(one.clicks), counted(one.machine_clicks)),
                one.name.unwrap_or_default(),
            ]);
        }
        table.print("mail was sent to nobody like that")?;
        let more = page.next.map(|next| clean(&format!("more: the same with --after {next}")) + "\n");
        Ok(print(&more.unwrap_or_default())?)
    }
}

impl Show {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Show { address, before, form } = self;
        let path = format!("/api/v1/readers/{}?{}", segment(&address), query(&[("before", before)]));
        let one: ReaderMails = client.get(path.trim_end_matches('?')).await?;
        if form.json { print_json(&one) } else { Ok(print(&page(&one))?) }
    }
}

fn page(one: &ReaderMails) -> String {
    let name = one.name.as_deref().map(|name| format!("{name} ")).unwrap_or_default();
    let said = one.says.iter().map(|says| format!("says to {}: {}\n", says.org, says.says)).collect::<String>();
    let doubt = match one.opens_mean_little {
        true => "their pictures come through a proxy or are fetched by a machine: opens mean little\n",
        false => "",
    };
    let ranked = |title: &str, rows: &[crate::admin::api::shapes::Ranked]| match rows {
        [] => String::new(),
        rows => {
            let rows: Vec<String> = rows.iter().map(|row| format!("{} ({})", row.name, row.count)).collect();
            clean(&format!("{title}: {}", rows.join(", "))) + "\n"
        }
    };
    let mut mails = Table::new(&["id", "sent", "delivery", "opens", "links", "opened", "clicked", "subject"]);
    for mail in &one.mails {
        let times = |kind: &str| mail.events.iter().filter(|event| event.kind == kind).count().to_string();
        mails.row([
            mail.id.clone(),
            time(&mail.accepted_at),
            mail.state.clone(),
            mail.opens.clone(),
            mail.links.clone(),
            times("open"),
            times("click"),
            mail.subject.clone(),
        ]);
    }
    let more = one.next.as_ref().map(|next| format!("older: the same with --before {next}\n")).unwrap_or_default();
    format!(
        "{}\n{}{doubt}{}{}\n{mails}{}",
        clean(&format!("{name}<{}>", one.address)),
        said.lines().map(|line| clean(line) + "\n").collect::<String>(),
        ranked("places", &one.places),
        ranked("programs", &one.programs),
        clean(more.trim_end()) + if more.is_empty() { "" } else { "\n" },
    )
}

fn counted(count: i64) -> u64 {
    count.max(0).unsigned_abs()
}
