//! `waxseal test-mail`

use clap::Args;
use hyper::Method;

use super::super::Form;
use super::super::client::Client;
use super::super::table::{clean, print, print_json};
use crate::admin::api::shapes::{TestMailPost, TestMailSent};

#[derive(Debug, Args)]
pub(in crate::cli) struct Command {
    /// Whom it goes to
    to: String,
    /// Under whose settings [default: the first organisation]
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
    #[command(flatten)]
    form: Form,
}

pub(in crate::cli) async fn run(client: &Client, Command { to, org, form }: Command) -> anyhow::Result<()> {
    let sent: TestMailSent = client.send(Method::POST, "/api/v1/test-mail", &TestMailPost { to, org }).await?;
    if form.json {
        return print_json(&sent);
    }
    let follow = match &sent.message {
        Some(id) => format!("what becomes of it: waxseal message show {id}"),
        None => "its record could not be written, so it cannot be followed".to_owned(),
    };
    Ok(print(&format!("{}\n{}\n", clean(&sent.reply), clean(&follow)))?)
}
