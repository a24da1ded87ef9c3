//! `waxseal inbox list|show|send-test`

use clap::Subcommand;
use hyper::Method;

use super::super::Form;
use super::super::client::{Client, segment};
use super::super::table::{Table, clean, print, print_bytes, print_json, time};
use crate::admin::api::shapes::{InboxLine, TestMailPost, TestMailSent};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// The newest mails first, at most 50
    List(Form),
    /// A mail as it was received, to standard output
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        form: Form,
    },
    /// Send a test mail through the relay
    SendTest {
        /// Whom it goes to
        to: String,
        /// Under whose settings [default: the first organisation]
        #[arg(long, value_name = "NAME")]
        org: Option<String>,
    },
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(form) => list(client, form).await,
        Command::Show { id, form } if form.json => {
            print_json(&client.get::<InboxLine>(&format!("/api/v1/inbox/{}", segment(&id))).await?)
        }
        Command::Show { id, .. } => {
            Ok(print_bytes(&client.get_bytes(&format!("/api/v1/inbox/{}/raw", segment(&id))).await?)?)
        }
        Command::SendTest { to, org } => {
            let sent: TestMailSent = client.send(Method::POST, "/api/v1/test-mail", &TestMailPost { to, org }).await?;
            Ok(print(&format!("{}\n", clean(&sent.reply)))?)
        }
    }
}

async fn list(client: &Client, form: Form) -> anyhow::Result<()> {
    let mails: Vec<InboxLine> = client.get("/api/v1/inbox").await?;
    if form.json {
        return print_json(&mails);
    }
    let mut table = Table::new(&["id", "arrived", "from", "to", "subject", "bytes"]);
    for mail in mails {
        let arrived = time(&mail.received_at);
        table.row([mail.id, arrived, mail.from, mail.to.join(", "), mail.subject, mail.size_bytes.to_string()]);
    }
    Ok(table.print("nothing has arrived")?)
}
