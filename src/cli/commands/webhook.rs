//! `waxseal webhook list|show|add|edit|remove|test|deliveries|replay`

use clap::{Args, Subcommand};
use hyper::Method;

use super::super::Form;
use super::super::client::{Client, query, segment};
use super::super::table::{Table, clean, print, print_json, time};
use crate::admin::api::shapes::{Delivery, Replayed, Webhook, WebhookMade, WebhookPatch, WebhookPost};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Every webhook
    List(Form),
    /// One webhook
    Show(Named),
    /// Have a program told of opens, clicks and bounces; its signing secret is shown once
    Add(Add),
    /// Change what it is told, and where; or pause and resume it
    Edit(Edit),
    /// Remove a webhook, with what waits for it
    Remove {
        /// The webhook's id
        id: String,
    },
    /// Send a test
    Test {
        /// The webhook's id
        id: String,
    },
    /// What was told it, newest first
    Deliveries(Deliveries),
    /// Try again: one delivery, or all that failed
    Replay(Replay),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Named {
    /// The webhook's id
    id: String,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    /// Where it is: an absolute http or https address
    url: String,
    /// The organisation whose mail it is about
    #[arg(long, value_name = "NAME")]
    org: String,
    /// Only this sender's mail
    #[arg(long, value_name = "LOGIN")]
    login: Option<String>,
    /// What it is told of; may be repeated [default: all three]
    #[arg(long = "topic", value_name = "TOPIC", value_parser = TOPICS)]
    topics: Vec<String>,
    /// Which opens: the first of each recipient, or every one
    #[arg(long, default_value = "first", value_parser = ["first", "every", "none"])]
    level: String,
    /// Recipients, subjects and places of everybody's mail too
    #[arg(long)]
    words: bool,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true, id = "change")]
pub(in crate::cli) struct Changes {
    /// Where it is
    #[arg(long)]
    url: Option<String>,
    /// What it is told of; may be repeated
    #[arg(long = "topic", value_name = "TOPIC", value_parser = TOPICS)]
    topics: Vec<String>,
    /// Which opens
    #[arg(long, value_parser = ["first", "every", "none"])]
    level: Option<String>,
    /// Send nothing for now, and keep nothing for it
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Send again
    #[arg(long)]
    resume: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Edit {
    /// The webhook's id
    id: String,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Deliveries {
    /// The webhook's id
    id: String,
    /// Only these
    #[arg(long, value_parser = ["waiting", "delivered", "failed"])]
    state: Option<String>,
    /// Only older than this delivery
    #[arg(long, value_name = "ID")]
    before: Option<i64>,
    /// At most so many, up to 100
    #[arg(long, default_value_t = 50)]
    limit: u32,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Replay {
    /// The webhook's id
    id: String,
    /// The delivery's id
    #[arg(required_unless_present = "failed")]
    delivery: Option<i64>,
    /// All that failed
    #[arg(long, conflicts_with = "delivery")]
    failed: bool,
}

const TOPICS: [&str; 3] = ["message.opened", "message.clicked", "message.bounced"];

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(form) => list(client, form).await,
        Command::Show(Named { id, form }) => shown(client.get(&path(&id)).await?, form),
        Command::Add(add) => add.run(client).await,
        Command::Edit(edit) => edit.run(client).await,
        Command::Remove { id } => {
            client.order(Method::DELETE, &path(&id), None::<&()>).await?;
            Ok(print(&format!("removed {}\n", clean(&id)))?)
        }
        Command::Test { id } => {
            client.order(Method::POST, &format!("{}/test", path(&id)), None::<&()>).await?;
            Ok(print(&format!(
                "a test is on its way; `waxseal webhook deliveries {}` tells how it went\n",
                clean(&id)
            ))?)
        }
        Command::Deliveries(asked) => asked.run(client).await,
        Command::Replay(Replay { id, delivery, .. }) => {
            let of = delivery.map(|delivery| format!("/deliveries/{delivery}")).unwrap_or_default();
            let done: Replayed = client.send(Method::POST, &format!("{}{of}/replay", path(&id)), &()).await?;
            Ok(print(&format!("{} tried again\n", done.replayed))?)
        }
    }
}

impl Add {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Add { url, org, login, topics, level, words, form } = self;
        let topics = Some(topics).filter(|topics| !topics.is_empty());
        let post = WebhookPost { org: Some(org), login, url, topics, level: Some(level), words };
        let made: WebhookMade = client.send(Method::POST, "/api/v1/webhooks", &post).await?;
        if form.json {
            return print_json(&made);
        }
        print(&format!("added {} for {}\n", made.webhook.id, clean(&made.webhook.url)))?;
        // On standard error, so that it does not end up in a file with the rest.
        eprintln!("secret: {}\nIt is shown only now.", made.secret);
        Ok(())
    }
}

impl Edit {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Changes { url, topics, level, pause, resume } = self.changes;
        let patch = WebhookPatch {
            url,
            topics: Some(topics).filter(|topics| !topics.is_empty()),
            level,
            paused: (pause || resume).then_some(pause),
        };
        shown(client.send(Method::PATCH, &path(&self.id), &patch).await?, self.form)
    }
}

impl Deliveries {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Deliveries { id, state, before, limit, form } = self;
        let asked =
            query(&[("state", state), ("before", before.map(|id| id.to_string())), ("limit", Some(limit.to_string()))]);
        let found: Vec<Delivery> = client.get(&format!("{}/deliveries?{asked}", path(&id))).await?;
        if form.json {
            return print_json(&found);
        }
        let mut table = Table::new(&["delivery", "event", "made", "state", "tries", "next try", "last answer"]);
        for delivery in found {
            table.row([
                delivery.id.to_string(),
                delivery.topic,
                time(&delivery.created_at),
                delivery.state,
                delivery.attempts.to_string(),
                delivery.next_try_at.as_deref().map(time).unwrap_or_default(),
                delivery.answer,
            ]);
        }
        Ok(table.print("no deliveries")?)
    }
}

async fn list(client: &Client, form: Form) -> anyhow::Result<()> {
    let found: Vec<Webhook> = client.get("/api/v1/webhooks").await?;
    if form.json {
        return print_json(&found);
    }
    let mut table = Table::new(&["webhook", "org", "whose", "told of", "opens", "names", "state", "address"]);
    for webhook in found {
        let state = state(&webhook);
        table.row([
            webhook.id,
            webhook.org,
            webhook.login.unwrap_or_else(|| "everybody".to_owned()),
            webhook.topics.join(", "),
            webhook.level,
            if webhook.words { "yes" } else { "no" }.to_owned(),
            state,
            webhook.url,
        ]);
    }
    Ok(table.print("no webhooks")?)
}

fn shown(webhook: Webhook, form: Form) -> anyhow::Result<()> {
    if form.json {
        return print_json(&webhook);
    }
    let state = state(&webhook);
    let whose = webhook.login.as_deref().map_or_else(|| "everybody".to_owned(), clean);
    print(&format!(
        "{} {}\n  {}\n  mail of {whose} ({}), {}\n  opens: {}; names told: {}\n",
        webhook.id,
        state,
        clean(&webhook.url),
        webhook.org,
        webhook.topics.join(", "),
        webhook.level,
        if webhook.words { "yes" } else { "no" },
    ))?;
    if let Some(last) = &webhook.last_dropped_at {
        print(&format!("  too many waited: never told of {}, the last at {}\n", webhook.dropped, time(last)))?;
    }
    Ok(())
}

fn state(webhook: &Webhook) -> String {
    let state = if webhook.paused { "paused" } else { "active" };
    match webhook.dropped {
        0 => state.to_owned(),
        dropped => format!("{state}, {dropped} dropped"),
    }
}

fn path(id: &str) -> String {
    format!("/api/v1/webhooks/{}", segment(id))
}
