//! `waxseal consent list|show|grant|refuse|withdraw|import|rule`

use std::path::PathBuf;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use hyper::Method;

use super::super::Form;
use super::super::client::{Client, query, segment};
use super::super::csv;
use super::super::table::{Table, clean, print, print_json, time};
use crate::admin::actions::people::IMPORT_ROWS_MAX;
use crate::admin::api::shapes::people::{NotePost, Noted, NotesPost, OrgPrivacy, OrgPrivacyPatch, Person, PersonLine};
use crate::settings::privacy::FOOTER_DEFAULT;

/// Largest file of grants: some 100,000 rows.
const IMPORT_BYTES_MAX: u64 = 32 << 20;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Who has said something, by keyed hash: no address is kept
    List(Whose),
    /// One recipient: what they said, when, where, in which words
    Show {
        /// The recipient's address
        address: String,
        #[command(flatten)]
        whose: Whose,
    },
    /// Note that a recipient agreed
    Grant(Note),
    /// Note that a recipient said no
    Refuse(Note),
    /// Note that a recipient took their agreement back
    Withdraw(Note),
    /// Note grants from a CSV file with the columns address, at, source, wording
    Import {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        whose: Whose,
    },
    /// What the organisation asks for, its footer and its words on the recipient's page; changed with options
    Rule(Rule),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Whose {
    /// The organisation
    #[arg(long, value_name = "NAME")]
    org: String,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Note {
    /// The recipient's address
    address: String,
    /// Where it was said: a form, a contract, a call
    #[arg(long)]
    source: String,
    /// The words they agreed to or refused; needed for a grant
    #[arg(long, default_value = "")]
    wording: String,
    /// When, as 2026-11-23T20:00:00Z [default: now]
    #[arg(long)]
    at: Option<String>,
    #[command(flatten)]
    whose: Whose,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Rule {
    #[command(flatten)]
    whose: Whose,
    /// Whether recipients must have agreed; `follow` keeps to config.toml
    #[arg(long, value_parser = ["none", "required", "follow"])]
    consent: Option<String>,
    /// What those get who have said nothing, where consent is required
    #[arg(long, value_parser = ["off", "aggregate", "follow"])]
    without_consent: Option<String>,
    /// Put at the end of every mail, with [words] as the link to the recipient's page; `default`, or '' for none
    #[arg(long, value_name = "TEXT")]
    footer: Option<String>,
    /// The organisation's name on that page; '' for the short one
    #[arg(long, value_name = "NAME")]
    shown_name: Option<String>,
    /// Its own words on that page, such as whom to ask
    #[arg(long, value_name = "TEXT")]
    page_text: Option<String>,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(whose) => list(client, &whose).await,
        Command::Show { address, whose } => show(client, &address, &whose).await,
        Command::Grant(note) => note.run(client, "grant").await,
        Command::Refuse(note) => note.run(client, "refuse").await,
        Command::Withdraw(note) => note.run(client, "withdraw").await,
        Command::Import { file, whose } => import(client, &file, &whose).await,
        Command::Rule(rule) => rule.run(client).await,
    }
}

async fn list(client: &Client, whose: &Whose) -> anyhow::Result<()> {
    let people: Vec<PersonLine> = client.get(&people_path(&whose.org)).await?;
    if whose.form.json {
        return print_json(&people);
    }
    let mut table = Table::new(&["person", "says", "own page", "noted", "changed"]);
    for line in people {
        let page = if line.stopped { "stopped" } else { "" };
        let changed = line.changed_at.as_deref().map(time).unwrap_or_default();
        table.row([line.person, line.says, page.to_owned(), line.noted, changed]);
    }
    Ok(table.print("nobody has said anything yet")?)
}

/// One recipient of an organisation.
pub(in crate::cli) async fn person(client: &Client, org: &str, address: &str) -> anyhow::Result<Person> {
    client.get(&format!("{}?{}", people_path(org), query(&[("address", Some(address.to_owned()))]))).await
}

async fn show(client: &Client, address: &str, whose: &Whose) -> anyhow::Result<()> {
    let person = person(client, &whose.org, address).await?;
    if whose.form.json {
        return print_json(&person);
    }
    let says = match (person.line.says.as_str(), person.line.stopped) {
        ("yes", _) => "they agreed",
        ("no", true) => "they said no on their own page",
        ("no", false) => "they said no",
        _ => "they have said nothing that counts now",
    };
    let mut table = Table::new(&["when", "what", "where", "words"]);
    for entry in &person.ledger {
        table.row([time(&entry.at), entry.act.clone(), entry.source.clone(), entry.wording.clone()]);
    }
    let ledger = if person.ledger.is_empty() { String::new() } else { format!("\n{table}") };
    Ok(print(&format!("{says}\ntheir page: {}\n{ledger}", clean(&person.page_url)))?)
}

impl Note {
    async fn run(self, client: &Client, act: &str) -> anyhow::Result<()> {
        let Note { address, source, wording, at, whose } = self;
        let note = NotePost { address, act: act.to_owned(), at, source, wording };
        let noted = send(client, &whose.org, vec![note]).await?;
        if whose.form.json {
            return print_json(&noted);
        }
        match noted.first().and_then(|noted| noted.why_not.as_deref()) {
            Some(why) => bail!("not noted: {why}"),
            None => Ok(print("noted\n")?),
        }
    }
}

async fn send(client: &Client, org: &str, notes: Vec<NotePost>) -> anyhow::Result<Vec<Noted>> {
    client.send(Method::POST, &people_path(org), &NotesPost { notes }).await
}

async fn import(client: &Client, file: &PathBuf, whose: &Whose) -> anyhow::Result<()> {
    let size = std::fs::metadata(file).with_context(|| format!("{}", file.display()))?.len();
    ensure!(size <= IMPORT_BYTES_MAX, "{} is over {} MiB: split it", file.display(), IMPORT_BYTES_MAX >> 20);
    let text = std::fs::read_to_string(file).with_context(|| format!("{} is no UTF-8 text", file.display()))?;
    let rows = csv::read(&text, &["address", "at", "source", "wording"]).map_err(|why| anyhow::anyhow!("{why}"))?;
    let total = rows.len();
    let mut left = Vec::new();
    let (mut done, mut batch, mut bytes) = (0, Vec::new(), 0);
    let mut rows = rows.into_iter().peekable();
    while let Some((line, fields)) = rows.next() {
        bytes += fields.iter().map(String::len).sum::<usize>();
        batch.push((line, grant(fields)));
        let full = batch.len() >= IMPORT_ROWS_MAX || bytes > BATCH_BYTES_MAX;
        if !full && rows.peek().is_some() {
            continue;
        }
        let (lines, notes): (Vec<usize>, Vec<NotePost>) = std::mem::take(&mut batch).into_iter().unzip();
        bytes = 0;
        let first = lines.first().copied().unwrap_or_default();
        let noted = send(client, &whose.org, notes).await;
        let noted = noted.with_context(|| format!("{done} of {total} rows were noted; none from line {first} on"))?;
        for (line, noted) in lines.into_iter().zip(noted) {
            match noted.why_not {
                None => done += 1,
                Some(why) => left.push(format!("line {line}: {why}")),
            }
        }
    }
    let mut told = format!("{done} of {total} grants noted\n");
    left.iter().for_each(|line| told.push_str(&format!("{}\n", clean(line))));
    Ok(print(&told)?)
}

/// Octets of one request's fields: escaped as JSON they stay below what a request may have.
const BATCH_BYTES_MAX: usize = 16 << 10;

fn grant(fields: Vec<String>) -> NotePost {
    let mut fields = fields.into_iter();
    let mut next = || fields.next().unwrap_or_default();
    let (address, at, source, wording) = (next(), next(), next(), next());
    NotePost { address, act: "grant".to_owned(), at: Some(at).filter(|at| !at.is_empty()), source, wording }
}

impl Rule {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Rule { whose, consent, without_consent, footer, shown_name, page_text } = self;
        let footer = footer.map(|text| if text == "default" { FOOTER_DEFAULT.to_owned() } else { text });
        let patch = OrgPrivacyPatch { consent, without_consent, footer, shown_name, page_text };
        let path = format!("/api/v1/orgs/{}/privacy", segment(&whose.org));
        let privacy: OrgPrivacy = client.send(Method::PATCH, &path, &patch).await?;
        if whose.form.json {
            return print_json(&privacy);
        }
        let none = || "none".to_owned();
        let told = format!(
            "consent: {}\nwithout_consent: {}\nfooter: {}\nshown_name: {}\npage_text: {}\nrecipients who said yes: {}, no: {}\n",
            privacy.consent,
            privacy.without_consent,
            privacy.footer.as_deref().map_or_else(none, clean),
            privacy.shown_name.as_deref().map_or_else(none, clean),
            privacy.page_text.as_deref().map_or_else(none, clean),
            privacy.yes,
            privacy.no
        );
        Ok(print(&told)?)
    }
}

fn people_path(org: &str) -> String {
    format!("/api/v1/orgs/{}/people", segment(org))
}
