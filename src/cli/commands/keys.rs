//! `waxseal keys list|rotate`

use clap::Subcommand;
use hyper::Method;

use super::super::Form;
use super::super::client::Client;
use super::super::table::{Table, print, print_json, time};
use crate::admin::api::shapes::Key;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Every key, without its secret
    List(Form),
    /// Add a key for new links; links under old keys work for ever
    Rotate(Form),
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
    }
}
