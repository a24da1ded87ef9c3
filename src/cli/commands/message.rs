//! `waxseal message list|show`

use clap::{Args, Subcommand};

use super::super::Form;
use super::super::client::{Client, query, segment};
use super::super::table::{Table, clean, cut, print, print_json, time};
use crate::admin::api::shapes::{Event, Message, Messages, Recipient};

/// Characters of a subject in the list; `show` has the whole.
const SUBJECT_CHARS_MAX: usize = 50;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// The newest mails first
    List(Box<List>),
    /// One mail: recipients, what happened, links, what was left and why
    Show(Show),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only mail of this organisation
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
    /// Only mail of this login
    #[arg(long)]
    login: Option<String>,
    /// At most this many, 1 to 500
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// The page after: what the last line of a page said
    #[arg(long, value_name = "PLACE")]
    before: Option<String>,
    #[command(flatten)]
    search: Search,
    #[command(flatten)]
    form: Form,
}

/// What the list is searched for; a text anywhere in the value, in either case.
#[derive(Debug, Args)]
struct Search {
    /// Part of a recipient's address or name
    #[arg(long, value_name = "TEXT")]
    recipient: Option<String>,
    /// Part of the subject
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Part of the sender's address or login
    #[arg(long, value_name = "TEXT")]
    sender: Option<String>,
    /// First day, as 2026-11-23, UTC
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// Last day
    #[arg(long, value_name = "DAY")]
    until: Option<String>,
    /// How somebody's delivery stands; what was dropped is among refused
    #[arg(long, value_parser = ["pending", "accepted", "refused", "deferred", "unknown"])]
    delivery: Option<String>,
    /// What people did with it, or did not
    #[arg(long, value_parser = ["opened", "not-opened", "clicked", "not-clicked"])]
    readers: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The mail's id
    id: String,
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
        let List { org, login, limit, before, search, form } = self;
        let Search { recipient, subject, sender, from, until, delivery, readers } = search;
        let wanted = [
            ("recipient", recipient),
            ("subject", subject),
            ("sender", sender),
            ("from", from),
            ("until", until),
            ("delivery", delivery),
            ("readers", readers),
        ];
        let empty = if wanted.iter().all(|(_, value)| value.is_none()) { "no mail yet" } else { "no mail like that" };
        let page = [("org", org), ("login", login), ("limit", Some(limit.to_string())), ("before", before)];
        let query = query(&page.into_iter().chain(wanted).collect::<Vec<_>>());
        let page: Messages = client.get(&format!("/api/v1/messages?{query}")).await?;
        if form.json {
            return print_json(&page);
        }
        let mut table = Table::new(&["id", "sent", "org", "from", "subject", "delivered", "opens", "clicks"]);
        for line in page.messages {
            let subject = cut(&line.subject.unwrap_or_default(), SUBJECT_CHARS_MAX);
            table.row([
                line.id,
                time(&line.accepted_at),
                line.org,
                line.from.or(line.login).unwrap_or_default(),
                if line.tracked { subject } else { format!("{subject} (not tracked)") },
                format!("{}/{}", line.accepted, line.recipients),
                beside(line.opens, line.machine_opens),
                beside(line.clicks, line.machine_clicks),
            ]);
        }
        table.print(empty)?;
        if let Some(next) = page.next {
            print(&format!("older: the same with --before {next}\n"))?;
        }
        Ok(())
    }
}

impl Show {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let message: Message = client.get(&format!("/api/v1/messages/{}", segment(&self.id))).await?;
        if self.form.json { print_json(&message) } else { Ok(print(&page(&message))?) }
    }
}

fn page(message: &Message) -> String {
    let mut facts = vec![
        ("subject", message.subject.clone()),
        ("from", message.from.clone()),
        ("sent", time(&message.accepted_at)),
        ("login", message.login.clone().unwrap_or_else(|| "(trusted network)".to_owned())),
        ("org", message.org.clone()),
        ("size", format!("{} bytes", message.size_bytes)),
        ("message-id", message.message_id.clone()),
    ];
    facts.extend(message.untouched.clone().map(|why| ("not tracked", why)));
    let facts = facts.iter().map(|(name, value)| format!("{name:<12} {}\n", clean(value))).collect::<String>();
    let mut recipients = Table::whole(&["recipient", "delivery", "opens", "links", "seen", "reply"]);
    for r in &message.recipients {
        let (delivery, opens, links, reply) = (r.delivery.clone(), r.opens.clone(), r.links.clone(), r.reply.clone());
        recipients.row([full(r.name.as_deref(), &r.address), delivery, opens, links, seen(r), reply]);
    }
    let happened: String = message.events.iter().map(|event| format!("{}\n", told(event))).collect();
    let links: String = message.links.iter().map(|link| format!("{}\n", super::link::told(link))).collect();
    let notes: String = message.notes.iter().map(|note| format!("{}\n", clean(note))).collect();
    let part = |title: &str, text: &str| if text.is_empty() { String::new() } else { format!("\n{title}\n{text}") };
    let happened = if happened.is_empty() { "nothing yet\n".to_owned() } else { happened };
    format!(
        "{facts}\n{recipients}{}{}{}",
        part("WHAT HAPPENED", &happened),
        part("LINKS", &links),
        part("NOTES", &notes)
    )
}

/// `Ana Silva <ana@example.com>`, or the address alone.
fn full(name: Option<&str>, address: &str) -> String {
    name.map_or_else(|| address.to_owned(), |name| format!("{name} <{address}>"))
}

/// People's, and machines' beside them.
pub(super) fn beside(people: u64, machines: u64) -> String {
    if machines == 0 { people.to_string() } else { format!("{people} (+{machines} by machines)") }
}

/// What is known of one recipient; nothing where nobody can tell.
fn seen(recipient: &Recipient) -> String {
    let read = match recipient.read.as_deref() {
        Some("opened") => "read",
        Some("inferred") => "read (inferred)",
        Some(_) => "not yet",
        None => "",
    };
    let shared = if recipient.perhaps_shared == Some(true) { "; forwarded or shared?" } else { "" };
    format!("{read}{shared}")
}

/// An event on one line.
pub(in crate::cli) fn told(event: &Event) -> String {
    let what = match (event.kind.as_str(), event.destination.as_deref()) {
        ("open", _) => "opened".to_owned(),
        ("click", Some(destination)) => format!("followed {destination}"),
        ("click", None) => "followed a link".to_owned(),
        (other, _) => other.to_owned(),
    };
    let times = if event.repeats == 0 { String::new() } else { format!(" ×{}", event.repeats.saturating_add(1)) };
    let raw = event.address.iter().map(|address| match &event.agent {
        Some(agent) => format!("{address}, {agent}"),
        None => format!("{address}, no User-Agent"),
    });
    let details: Vec<String> = event.words.iter().cloned().chain(raw).collect();
    let details = if details.is_empty() { String::new() } else { format!("  ({})", details.join("; ")) };
    let who = event.recipient.as_deref().map(|address| full(event.recipient_name.as_deref(), address));
    let who = who.as_deref().unwrap_or("somebody");
    clean(&format!("{}  {who} {what}{times}{details}", time(&event.at)))
}
