//! `waxseal user add|list|set|passwd|notices|tracking|invite|invitations|link|app-password|api-key|sessions|remove`

use clap::{Args, Subcommand};
use hyper::Method;

use super::super::Form;
use super::super::client::{Client, query, segment};
use super::super::password::{self, Password};
use super::super::table::{Table, clean, print, print_json};
use super::org::words;
use super::way_in::{self, ApiKeys, AppPasswords, Invitations, Invite, Sessions};
use crate::admin::api::shapes::{NoticesPut, PasswordPut, User, UserPatch, UserPost, UserTracking, UserTrackingPatch};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Add a login
    Add(Add),
    /// Every login
    List(Form),
    /// Change what a login may do and send as; in force at once
    Set(Set),
    /// Set a password; open sessions of the login end
    Passwd(Passwd),
    /// What a person is told by mail of opens and clicks; each can choose in the dashboard too
    Notices(Notices),
    /// What a login has chosen for its own mail, below its organisation; changed with options
    Tracking(Tracking),
    /// Make a link to an account: whoever has it chooses the password, once, within 72 hours
    Invite(Invite),
    /// The links that are open
    Invitations(Invitations),
    /// Make a link to a new password, for one use within 72 hours
    Link {
        /// The login
        login: String,
    },
    /// What its mail programs log in with, each with a password of its own
    #[command(subcommand)]
    AppPassword(AppPasswords),
    /// What programs that use the API on its behalf log in with
    #[command(subcommand)]
    ApiKey(ApiKeys),
    /// Who is logged in to the dashboard with it; and ending that
    Sessions(Sessions),
    /// Take a second factor away, when phone and recovery codes are gone; sessions of the login end
    NoSecondFactor {
        /// The login
        login: String,
    },
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
pub(in crate::cli) struct Set {
    /// The login
    login: String,
    /// What it may do
    #[arg(long, value_parser = ["sender", "org-admin", "server-admin"], required_unless_present_any = ["addresses", "no_address"])]
    role: Option<String>,
    /// An address it may send as besides the organisation's domains, instead of those before; may be repeated
    #[arg(long = "address", value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// It sends as the organisation's domains alone
    #[arg(long, conflicts_with = "addresses")]
    no_address: bool,
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

#[derive(Debug, Args)]
pub(in crate::cli) struct Tracking {
    /// The login
    login: String,
    /// The pixel; `follow` keeps to the organisation
    #[arg(long, value_parser = ["off", "aggregate", "individual", "follow"])]
    opens: Option<String>,
    /// Links in HTML
    #[arg(long, value_parser = ["off", "aggregate", "individual", "follow"])]
    links: Option<String>,
    /// Links in plain text
    #[arg(long, value_parser = ["off", "on", "follow"])]
    text_links: Option<String>,
    /// Mail leaves as it came, and the record says what would have been tracked
    #[arg(long, value_name = "BOOL")]
    shadow: Option<bool>,
    #[command(flatten)]
    form: Form,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Add(add) => add.run(client).await,
        Command::List(form) => list(client, form).await,
        Command::Set(set) => set.run(client).await,
        Command::Passwd(passwd) => passwd.run(client).await,
        Command::Notices(Notices { login, mail, level }) => {
            let put = NoticesPut { mail: mail == "on", level };
            client.order(Method::PUT, &format!("{}/notices", path(&login)), Some(&put)).await?;
            Ok(print(&format!("notices to {} by mail: {mail}\n", clean(&login)))?)
        }
        Command::Tracking(tracking) => tracking.run(client).await,
        Command::Invite(invite) => invite.run(client).await,
        Command::Invitations(command) => command.run(client).await,
        Command::Link { login } => way_in::password_link(client, &login).await,
        Command::AppPassword(command) => command.run(client).await,
        Command::ApiKey(command) => command.run(client).await,
        Command::Sessions(command) => command.run(client).await,
        Command::NoSecondFactor { login } => {
            client.order(Method::DELETE, &format!("{}/second-factor", path(&login)), None::<&()>).await?;
            Ok(print(&format!("{} logs in with the password alone\n", clean(&login)))?)
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
        let users = all(client).await?;
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

impl Set {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Set { login, role, addresses, no_address, form } = self;
        let addresses = (no_address || !addresses.is_empty()).then_some(addresses);
        let user: User = client.send(Method::PATCH, &path(&login), &UserPatch { role, addresses }).await?;
        if form.json {
            return print_json(&user);
        }
        let whose = user.org.map(|org| format!(" of {org}")).unwrap_or_default();
        let also = match user.addresses.is_empty() {
            true => String::new(),
            false => format!(", sends as {}, too", user.addresses.join(", ")),
        };
        Ok(print(&format!("{} is {}{whose}{also}\n", clean(&user.login), user.role))?)
    }
}

impl Tracking {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Tracking { login, opens, links, text_links, shadow, form } = self;
        let path = format!("{}/tracking", path(&login));
        let patch = UserTrackingPatch { opens, links, text_links, shadow };
        let asks = patch.opens.is_some() || patch.links.is_some() || patch.text_links.is_some();
        let tracking: UserTracking = match asks || patch.shadow.is_some() {
            true => client.send(Method::PATCH, &path, &patch).await?,
            false => client.get(&path).await?,
        };
        if form.json {
            return print_json(&tracking);
        }
        let mut table = Table::new(&["switch", "in force", "chosen", "at most", ""]);
        let locked = |name: &str| if tracking.locked.iter().any(|locked| locked == name) { "locked" } else { "" };
        let rows = [words(&tracking.in_force, ""), words(&tracking.choice, "follow"), words(&tracking.most, "")];
        let [in_force, chosen, most] = rows;
        for (((name, force), choice), most) in
            ["opens", "links", "text_links"].iter().zip(in_force).zip(chosen).zip(most)
        {
            table.row([(*name).to_owned(), force, choice, most, locked(name).to_owned()]);
        }
        let on = |on: bool| if on { "on" } else { "off" }.to_owned();
        let shadow = [on(tracking.shadow), on(tracking.own_shadow), String::new(), locked("shadow").to_owned()];
        let [in_force, own, none, locked] = shadow;
        table.row(["shadow".to_owned(), in_force, own, none, locked]);
        Ok(print(&format!("{} of {}\n\n{table}", clean(&tracking.login), clean(&tracking.org)))?)
    }
}

impl Passwd {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        // Asked before the password is, as above.
        client.get::<User>(&path(&self.login)).await?;
        let password = password::new(self.generate)?;
        let put = PasswordPut { password: password.reveal().to_owned(), present: None };
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

/// Page by page, each after the last login of the one before; the last page is empty.
async fn all(client: &Client) -> anyhow::Result<Vec<User>> {
    let mut users: Vec<User> = Vec::new();
    loop {
        let after = users.last().map(|user| user.login.clone());
        let page: Vec<User> = client.get(&format!("/api/v1/users?{}", query(&[("after", after)]))).await?;
        if page.is_empty() {
            return Ok(users);
        }
        users.extend(page);
    }
}

async fn list(client: &Client, form: Form) -> anyhow::Result<()> {
    let users = all(client).await?;
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
