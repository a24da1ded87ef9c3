//! `waxseal user add|list|passwd|notices|remove`

use clap::{Args, Subcommand};
use hyper::Method;

use super::super::Form;
use super::super::client::{Client, segment};
use super::super::password::{self, Password};
use super::super::table::{Table, clean, print, print_json};
use crate::admin::api::shapes::{NoticesPut, PasswordPut, User, UserPost};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Add a login
    Add(Add),
    /// Every login
    List(Form),
    /// Set a password; open sessions of the login end
    Passwd(Passwd),
    /// What a person is told by mail of opens and clicks; each can choose in the dashboard too
    Notices(Notices),
    /// Remove a login; its mail and links stay
    Remove {
        /// The login
        login: String,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Add {
    /// What is typed in the mail client and the dashboard; usually the mail address
    login: String,
    /// The organisation it belongs to; only a server admin has none
    #[arg(long, value_name = "NAME", required_unless_present = "role")]
    org: Option<String>,
    /// What it may do
    #[arg(long, default_value = "sender", value_parser = ["sender", "org-admin", "server-admin"])]
    role: String,
    /// An address it may send as besides the organisation's domains; may be repeated
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Make the password up and show it once, instead of asking (or reading the first line of a pipe)
    #[arg(long)]
    generate: bool,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Passwd {
    /// The login
    login: String,
    /// Make the password up and show it once, instead of asking (or reading the first line of a pipe)
    #[arg(long)]
    generate: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Notices {
    /// The login
    login: String,
    /// Whether notices are sent, to the address the opened mail was sent from
    #[arg(long, value_parser = ["on", "off"])]
    mail: String,
    /// The first open of each recipient and every click, every open and click, or nothing
    #[arg(long, default_value = "first", value_parser = ["first", "every", "none"])]
    level: String,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Add(add) => add.run(client).await,
        Command::List(form) => list(client, form).await,
        Command::Passwd(passwd) => passwd.run(client).await,
        Command::Notices(Notices { login, mail, level }) => {
            let put = NoticesPut { mail: mail == "on", level };
            client.order(Method::PUT, &format!("{}/notices", path(&login)), Some(&put)).await?;
            Ok(print(&format!("notices to {} by mail: {mail}\n", clean(&login)))?)
        }
        Command::Remove { login } => {
            client.order(Method::DELETE, &path(&login), None::<&()>).await?;
            Ok(print(&format!("removed {}\n", clean(&login)))?)
        }
    }
}

impl Add {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Add { login, org, role, addresses, generate, form } = self;
        // Asked before the password is: nobody types one twice to hear then that the server is not running.
        let users: Vec<User> = client.get("/api/v1/users").await?;
        anyhow::ensure!(users.iter().all(|user| user.login != login), "the login {} is taken", clean(&login));
        let password = password::new(generate)?;
        let post = UserPost { login, org, role, addresses, password: password.reveal().to_owned() };
        let user: User = client.send(Method::POST, "/api/v1/users", &post).await?;
        if form.json {
            print_json(&user)?;
        } else {
            let whose = user.org.map(|org| format!(" of {org}")).unwrap_or_default();
            print(&format!("added {}, {}{whose}\n", clean(&user.login), user.role))?;
        }
        show_once(&password)
    }
}

impl Passwd {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        // Asked before the password is, as above.
        client.get::<User>(&path(&self.login)).await?;
        let password = password::new(self.generate)?;
        let put = PasswordPut { password: password.reveal().to_owned() };
        client.order(Method::PUT, &format!("{}/password", path(&self.login)), Some(&put)).await?;
        print(&format!("changed the password of {}\n", clean(&self.login)))?;
        show_once(&password)
    }
}

/// On standard error, so that it does not end up in a file with the rest.
fn show_once(password: &Password) -> anyhow::Result<()> {
    if let Password::MadeUp(made_up) = password {
        eprintln!("password: {}\nIt is shown only now.", made_up.reveal());
    }
    Ok(())
}

async fn list(client: &Client, form: Form) -> anyhow::Result<()> {
    let users: Vec<User> = client.get("/api/v1/users").await?;
    if form.json {
        return print_json(&users);
    }
    let mut table = Table::new(&["login", "role", "org", "also sends as"]);
    for user in users {
        table.row([user.login, user.role, user.org.unwrap_or_default(), user.addresses.join(", ")]);
    }
    Ok(table.print("no users")?)
}

fn path(login: &str) -> String {
    format!("/api/v1/users/{}", segment(login))
}
