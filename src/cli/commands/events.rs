//! `waxseal events [--follow]`

use clap::Args;

use super::super::Form;
use super::super::client::{Client, query};
use super::super::table::{clean, print, print_json_line};
use super::message::told;
use crate::admin::api::EVENT_WAIT_MAX;
use crate::admin::api::shapes::{Event, Events};

#[derive(Debug, Args)]
pub(in crate::cli) struct Command {
    /// Go on as they come, until Ctrl-C
    #[arg(long)]
    follow: bool,
    /// All events after this sequence number [default: the newest there are]
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<i64>,
    /// Only of this mail
    #[arg(long, value_name = "ID")]
    message: Option<String>,
    /// Only of this organisation
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
    /// Only of mail this login sent
    #[arg(long)]
    login: Option<String>,
    /// At most this many at a time, 1 to 1000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    #[command(flatten)]
    form: Form,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    let mut after = command.after;
    let mut first = true;
    loop {
        // The first question never waits: a person wants to see what is there at once.
        let wait_secs = if command.follow && !first { EVENT_WAIT_MAX.as_secs() } else { 0 };
        let answer: Events = client.get(&command.question(after, wait_secs)).await?;
        for event in &answer.events {
            command.show(event)?;
        }
        if first && answer.events.is_empty() && !command.form.json && !command.follow {
            print("no events yet\n")?;
        }
        let more = command.after.is_some() && answer.events.len() >= command.limit as usize;
        if !command.follow && !more {
            return Ok(());
        }
        after = Some(answer.after);
        first = false;
    }
}

impl Command {
    fn question(&self, after: Option<i64>, wait_secs: u64) -> String {
        let query = query(&[
            ("message", self.message.clone()),
            ("org", self.org.clone()),
            ("login", self.login.clone()),
            ("after", after.map(|after| after.to_string())),
            ("limit", Some(self.limit.to_string())),
            ("wait_secs", Some(wait_secs.to_string())),
        ]);
        format!("/api/v1/events?{query}")
    }

    /// One event a line: JSON for programs, a sentence for people.
    fn show(&self, event: &Event) -> anyhow::Result<()> {
        if self.form.json {
            return print_json_line(event);
        }
        let subject = if self.message.is_some() { String::new() } else { format!("  “{}”", clean(&event.subject)) };
        Ok(print(&format!("{}{subject}\n", told(event)))?)
    }
}
