//! `waxseal queue list|show|retry|drop`

use std::io::{IsTerminal as _, stdin};

use anyhow::bail;
use clap::{Args, Subcommand};
use hyper::Method;
use jiff::Timestamp;

use super::super::Form;
use super::super::client::{Client, segment};
use super::super::table::{Table, clean, print, print_json, time};
use crate::admin::api::shapes::{Queue, QueuedMail, QueuedRecipient};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// What waits, oldest first, at most 1,000
    List {
        #[command(flatten)]
        form: Form,
    },
    /// One mail: every recipient with its stage, attempts and the last words about it
    Show {
        /// The mail's id
        id: String,
        #[command(flatten)]
        form: Form,
    },
    /// Try now what would be tried later
    Retry(Retry),
    /// Give up mails: who does not have them yet never gets them, and nobody is told
    Drop(Discard),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Retry {
    /// The mails' ids
    #[arg(required_unless_present = "all")]
    ids: Vec<String>,
    /// Every mail that `queue list` lists
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Discard {
    /// The mails' ids
    #[arg(required = true)]
    ids: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { form } => list(client, form).await,
        Command::Show { id, form } => {
            let mail: QueuedMail = client.get(&address(&id)).await?;
            if form.json { print_json(&mail) } else { Ok(print(&page(&mail))?) }
        }
        Command::Retry(retry) => retry.run(client).await,
        Command::Drop(discard) => discard.run(client).await,
    }
}

async fn list(client: &Client, form: Form) -> anyhow::Result<()> {
    let queue: Queue = client.get("/api/v1/queue").await?;
    if form.json {
        return print_json(&queue);
    }
    let now = Timestamp::now();
    let mut table = Table::new(&["id", "age", "from", "to", "tried", "next try", "last reply"]);
    for mail in &queue.mails {
        let from = if mail.own_report { Some("(report)") } else { mail.from.as_deref() };
        table.row([
            mail.id.clone(),
            since(&mail.accepted_at, now),
            from.filter(|from| !from.is_empty()).unwrap_or("<>").to_owned(),
            to(mail),
            mail.attempts.to_string(),
            mail.next_try.as_deref().map_or_else(|| "-".to_owned(), |next| when(next, now)),
            latest(mail).map(said).unwrap_or_default(),
        ]);
    }
    table.print("nothing waits")?;
    Ok(print(&alerts(&queue))?)
}

impl Retry {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let ids = match self.all {
            true => client.get::<Queue>("/api/v1/queue").await?.mails.into_iter().map(|mail| mail.id).collect(),
            false => self.ids,
        };
        for id in &ids {
            let tried = client.order(Method::POST, &format!("{}/retry", address(id)), None::<&()>).await;
            match tried {
                Err(error) if self.all => print(&format!("{}\n", clean(&format!("{id}: {error}"))))?,
                tried => tried?,
            }
        }
        Ok(print(&format!("{} due now\n", mails(ids.len())))?)
    }
}

impl Discard {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        for id in &self.ids {
            let mail: QueuedMail = client.get(&address(id)).await?;
            if !self.yes && !confirmed(&mail)? {
                print(&format!("{} stays\n", mail.id))?;
                continue;
            }
            client.order(Method::DELETE, &address(id), None::<&()>).await?;
            print(&format!("{} dropped\n", mail.id))?;
        }
        Ok(())
    }
}

/// Asks on a terminal; elsewhere `--yes` is needed.
fn confirmed(mail: &QueuedMail) -> anyhow::Result<bool> {
    if !stdin().is_terminal() {
        bail!("nobody is there to ask: --yes drops without asking");
    }
    let waiting: Vec<&str> = mail.recipients.iter().filter(|r| r.next_try.is_some()).filter_map(address_of).collect();
    print(&clean(&format!("{}: {} never get it and nobody is told. Drop it? [y/N] ", mail.id, waiting.join(", "))))?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn page(mail: &QueuedMail) -> String {
    let now = Timestamp::now();
    let facts = [
        ("from", mail.from.clone().filter(|from| !from.is_empty()).unwrap_or_else(|| "<>".to_owned())),
        ("accepted", format!("{} ({} ago)", time(&mail.accepted_at), since(&mail.accepted_at, now))),
        (
            "login",
            mail.login
                .clone()
                .unwrap_or_else(|| if mail.own_report { "(a report of ours)" } else { "(trusted network)" }.to_owned()),
        ),
        ("org", mail.org.clone().unwrap_or_default()),
        ("size", format!("{} bytes", mail.size_bytes)),
    ];
    let facts: String = facts.iter().map(|(name, value)| format!("{name:<12} {}\n", clean(value))).collect();
    let mut recipients = Table::whole(&["recipient", "stage", "tried", "next try", "last reply"]);
    for recipient in &mail.recipients {
        recipients.row([
            recipient.address.clone().unwrap_or_default(),
            recipient.stage.clone(),
            recipient.attempts.to_string(),
            recipient.next_try.as_deref().map_or_else(|| "-".to_owned(), |next| when(next, now)),
            said(recipient),
        ]);
    }
    format!("{facts}\n{recipients}")
}

/// What an operator must know besides the list.
fn alerts(queue: &Queue) -> String {
    let rows = [
        (queue.cut, "there are more mails than these\n".to_owned()),
        (
            queue.corrupt.is_some_and(|count| count > 0),
            format!(
                "{} unreadable and not delivered: look into spool/corrupt/ in the data folder\n",
                mails(queue.corrupt.unwrap_or(0))
            ),
        ),
        (
            queue.upstream_down == Some(true),
            "upstream cannot be reached: it is tried at least once a minute\n".to_owned(),
        ),
        (
            queue.short_of_room == Some(true),
            "the disk is nearly full: mail that must wait is refused soon\n".to_owned(),
        ),
    ];
    rows.into_iter().filter(|(holds, _)| *holds).map(|(_, line)| line).collect()
}

/// The first who waits, and how many more.
fn to(mail: &QueuedMail) -> String {
    let waiting: Vec<&QueuedRecipient> = mail.recipients.iter().filter(|r| r.next_try.is_some()).collect();
    let shown = if waiting.is_empty() { mail.recipients.iter().collect() } else { waiting };
    let first = shown.first().copied().and_then(address_of).unwrap_or_default();
    match shown.len() {
        0 | 1 => first.to_owned(),
        more => format!("{first} +{}", more - 1),
    }
}

fn address_of(recipient: &QueuedRecipient) -> Option<&str> {
    recipient.address.as_deref()
}

/// Whoever waits and was tried most has the words that matter.
fn latest(mail: &QueuedMail) -> Option<&QueuedRecipient> {
    mail.recipients.iter().rev().filter(|r| r.next_try.is_some()).max_by_key(|r| r.attempts)
}

fn said(recipient: &QueuedRecipient) -> String {
    match (recipient.last_reply.as_deref().unwrap_or_default(), recipient.last_host.as_str()) {
        ("", _) => String::new(),
        (words, "") => words.to_owned(),
        (words, host) => format!("{host}: {words}"),
    }
}

fn address(id: &str) -> String {
    format!("/api/v1/queue/{}", segment(id))
}

fn mails(count: usize) -> String {
    format!("{count} mail{}", if count == 1 { "" } else { "s" })
}

fn since(at: &str, now: Timestamp) -> String {
    at.parse::<Timestamp>().map_or_else(|_| at.to_owned(), |at| span(now.as_second() - at.as_second()))
}

fn when(at: &str, now: Timestamp) -> String {
    match at.parse::<Timestamp>() {
        Err(_) => at.to_owned(),
        Ok(at) if at <= now => "now".to_owned(),
        Ok(at) => format!("in {}", span(at.as_second() - now.as_second())),
    }
}

/// `59s`, `12m`, `3h20m`, `2d4h`.
fn span(secs: i64) -> String {
    let secs = secs.max(0);
    match secs {
        0..60 => format!("{secs}s"),
        60..3_600 => format!("{}m", secs / 60),
        3_600..86_400 => format!("{}h{:02}m", secs / 3_600, secs / 60 % 60),
        _ => format!("{}d{}h", secs / 86_400, secs / 3_600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipient(address: &str, stage: &str, next: bool, attempts: u32) -> QueuedRecipient {
        QueuedRecipient {
            address: Some(address.to_owned()),
            stage: stage.to_owned(),
            attempts,
            next_try: next.then(|| "2026-11-23T22:00:00.000Z".to_owned()),
            last_reply: Some(format!("451 wait, {address}")),
            last_host: "mx".to_owned(),
        }
    }

    #[test]
    fn the_line_of_a_mail_speaks_of_who_still_waits() {
        let mail = QueuedMail {
            id: "00000000000000a1".to_owned(),
            accepted_at: "2026-11-23T20:00:00.000Z".to_owned(),
            org: Some("acme".to_owned()),
            login: Some("ann".to_owned()),
            own_report: false,
            from: Some("ann@acme.example".to_owned()),
            size_bytes: 10,
            attempts: 4,
            next_try: None,
            recipients: vec![
                recipient("has@it.example", "delivered", false, 9),
                recipient("b@x.example", "waiting", true, 3),
                recipient("c\u{1b}[31m@x.example", "unknown", true, 4),
            ],
        };
        assert_eq!(to(&mail), "b@x.example +1");
        assert_eq!(latest(&mail).map(said).unwrap(), "mx: 451 wait, c\u{1b}[31m@x.example");
        let page = page(&mail);
        assert!(page.contains("has@it.example") && page.contains("ann@acme.example"), "{page}");
        assert!(!page.contains('\u{1b}'), "{page}");
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-11-23T22:00:00Z".parse().unwrap();
        for (at, expected) in [
            ("2026-11-23T22:00:00.000Z", "0s"),
            ("2026-11-23T21:48:00.000Z", "12m"),
            ("2026-11-23T18:40:00.000Z", "3h20m"),
            ("2026-11-21T18:00:00.000Z", "2d4h"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(since(at, now), expected);
        }
        assert_eq!(when("2026-11-23T21:00:00Z", now), "now");
        assert_eq!(when("2026-11-23T22:12:00Z", now), "in 12m");
    }
}
