//! `waxseal link show|edit|withdraw|restore`

use clap::{Args, Subcommand};
use hyper::Method;

use super::super::Form;
use super::super::client::{Client, segment};
use super::super::table::{clean, print, print_json};
use crate::admin::api::shapes::{Link, LinkPut};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// The tracked links of a mail
    Show {
        /// The mail's id
        message: String,
        #[command(flatten)]
        form: Form,
    },
    /// Let a link lead somewhere else, also in mail that was read already
    Edit {
        #[command(flatten)]
        which: Which,
        /// An address that begins with https:// or http://
        destination: String,
    },
    /// Let a link answer that the sender took it back
    Withdraw(Which),
    /// Let a link lead where it led when it was sent
    Restore(Which),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Which {
    /// The mail's id
    message: String,
    /// The link's number, as `link show` says
    index: u16,
    #[command(flatten)]
    form: Form,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    let (which, put) = match command {
        Command::Show { message, form } => return show(client, &message, form).await,
        Command::Edit { which, destination } => {
            (which, Some(LinkPut { destination: Some(destination), withdrawn: false }))
        }
        Command::Withdraw(which) => (which, Some(LinkPut { destination: None, withdrawn: true })),
        Command::Restore(which) => (which, None),
    };
    let path = format!("/api/v1/messages/{}/links/{}", segment(&which.message), which.index);
    let method = if put.is_some() { Method::PUT } else { Method::DELETE };
    let link: Link = client.send(method, &path, &put).await?;
    if which.form.json { print_json(&link) } else { Ok(print(&format!("{}\n", told(&link)))?) }
}

async fn show(client: &Client, message: &str, form: Form) -> anyhow::Result<()> {
    let links: Vec<Link> = client.get(&format!("/api/v1/messages/{}/links", segment(message))).await?;
    if form.json {
        return print_json(&links);
    }
    let lines: String = links.iter().map(|link| format!("{}\n", told(link))).collect();
    Ok(print(if lines.is_empty() { "this mail has no tracked links\n" } else { &lines })?)
}

/// A link on one line.
pub(in crate::cli) fn told(link: &Link) -> String {
    let now = match (&link.changed_to, link.withdrawn) {
        (Some(to), _) => format!("  now {to}"),
        (None, true) => "  withdrawn".to_owned(),
        (None, false) => String::new(),
    };
    clean(&format!("{:>3}  {}{now}", link.index, link.destination))
}
