//! `waxseal privacy export|erase`

use clap::{Args, Subcommand};
use hyper::Method;

use super::super::Form;
use super::super::client::Client;
use super::super::table::{print, print_json};
use crate::admin::api::shapes::people::{About, Erased, Export};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Everything kept of one address as a recipient, as JSON
    Export(Whom),
    /// Make one address nobody's in the history; links go on working, a "no" stays as a hash
    Erase(Erase),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Whom {
    /// The recipient's address
    address: String,
    /// Only what this organisation has
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Erase {
    #[command(flatten)]
    whom: Whom,
    /// Yes: it cannot be undone
    #[arg(long, required = true)]
    yes: bool,
    #[command(flatten)]
    form: Form,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Export(whom) => {
            let export: Export = client.send(Method::POST, "/api/v1/privacy/export", &about(whom)).await?;
            print_json(&export)
        }
        Command::Erase(Erase { whom, yes: _, form }) => {
            let erased: Erased = client.send(Method::POST, "/api/v1/privacy/erase", &about(whom)).await?;
            match form.json {
                true => print_json(&erased),
                false => Ok(print(&format!("taken out of {} mails\n", erased.mails))?),
            }
        }
    }
}

fn about(Whom { address, org }: Whom) -> About {
    About { address, org }
}
