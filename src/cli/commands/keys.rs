//! `waxseal keys list|rotate|revoke`

use clap::Subcommand;
use hyper::Method;

use super::super::Form;
use super::super::client::Client;
use super::super::table::{Table, print, print_json, time};
use crate::admin::api::shapes::{Key, KeyUse};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Every key, without its secret
    List(Form),
    /// Add a key for new links; links under old keys work for ever
    Rotate(Form),
    /// Make every link that a key has sealed answer 404, for ever: for a key that is in wrong hands. Never the one in use
    Revoke {
        /// Its number in `keys list`
        key: u8,
        /// Do it; without this, only what would be dead is told
        #[arg(long)]
        yes: bool,
    },
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(form) => {
            let keys: Vec<Key> = client.get("/api/v1/keys").await?;
            if form.json {
                return print_json(&keys);
            }
            let mut table = Table::new(&["key", "made", "state"]);
            for key in keys {
                let state = match (key.revoked, key.current) {
                    (true, _) => "revoked: its links answer 404",
                    (false, true) => "seals new links",
                    (false, false) => "opens old links",
                };
                table.row([key.id.to_string(), time(&key.created_at), state.to_owned()]);
            }
            Ok(table.print("no keys")?)
        }
        Command::Rotate(form) => {
            let key: Key = client.send(Method::POST, "/api/v1/keys/rotate", &()).await?;
            if form.json {
                return print_json(&key);
            }
            Ok(print(&format!("key {} seals new links from now on; back up keys.toml again\n", key.id))?)
        }
        Command::Revoke { key, yes } => revoke(client, key, yes).await,
    }
}

/// What dies is told before it does.
async fn revoke(client: &Client, id: u8, yes: bool) -> anyhow::Result<()> {
    let KeyUse { key, mails, links } = client.get(&format!("/api/v1/keys/{id}")).await?;
    if key.revoked {
        return Ok(print(&format!("key {id} is revoked already\n"))?);
    }
    let dead = format!("{links} links of {mails} mails on record, and those of mail no longer on record");
    anyhow::ensure!(!key.current, "key {id} seals new links: `waxseal keys rotate` first, then revoke it");
    anyhow::ensure!(yes, "revoking key {id} makes answer 404 for ever: {dead}; if that is meant, say it with --yes");
    let _revoked: Key = client.send(Method::POST, &format!("/api/v1/keys/{id}/revoke"), &()).await?;
    Ok(print(&format!("key {id} is revoked: {dead}, answer 404; back up keys.toml again\n"))?)
}
