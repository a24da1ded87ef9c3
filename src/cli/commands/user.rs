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
    Tracking(Box<Tracking>),
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
    #[arg(long, value_name = "ON|OFF", value_parser = super::super::on_off)]
    shadow: Option<bool>,
    /// Links whose text is itself a web address: leave them alone
    #[arg(long, value_parser = ["leave", "follow"])]
    visible_urls: Option<String>,
    /// How exactly the places of its readers are kept
    #[arg(long, value_parser = ["country", "follow"])]
    place: Option<String>,
    /// Keep no address and User-Agent with the events of its readers
    #[arg(long, value_parser = ["off", "follow"])]
    raw_evidence: Option<String>,
    /// A recipient never tracked besides the organisation's; may be repeated, replaces the list, '' empties it
    #[arg(long = "exclude-recipient", value_name = "RECIPIENT")]
    excluded_recipients: Option<Vec<String>>,
    /// A host never tracked besides the organisation's; may be repeated, replaces the list, '' empties it
    #[arg(long = "exclude", value_name = "HOST")]
    excluded_hosts: Option<Vec<String>>,
    /// Links never tracked besides the organisation's, as portal.example.com/account; may be repeated, '' empties the list
    #[arg(long = "leave-link", value_name = "HOST/PATH")]
    leave_links: Option<Vec<String>>,
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
        let (path, form) = (format!("{}/tracking", path(&self.login)), self.form);
        let patch = UserTrackingPatch {
            opens: self.opens,
            links: self.links,
            text_links: self.text_links,
            shadow: self.shadow,
            visible_urls: self.visible_urls,
            place: self.place,
            raw_evidence: self.raw_evidence,
            excluded_recipients: self.excluded_recipients,
            excluded_hosts: self.excluded_hosts,
            leave_links: self.leave_links,
        };
        let tracking: UserTracking = match patch == UserTrackingPatch::default() {
            true => client.get(&path).await?,
            false => client.send(Method::PATCH, &path, &patch).await?,
        };
        if form.json {
            return print_json(&tracking);
        }
        let (login, org) = (clean(&tracking.login), clean(&tracking.org));
        Ok(print(&format!("{login} of {org}\n\n{}\n{}", switches(&tracking), lists(&tracking)))?)
    }
}

/// A row for whatever has one value.
fn switches(tracking: &UserTracking) -> Table {
    let mut table = Table::new(&["switch", "in force", "chosen", "at most", ""]);
    let locked = |name: &str| if is_locked(tracking, name) { "locked" } else { "" };
    let rows = [words(&tracking.in_force, ""), words(&tracking.choice, "follow"), words(&tracking.most, "")];
    let [in_force, chosen, most] = rows;
    for (((name, force), choice), most) in ["opens", "links", "text_links"].iter().zip(in_force).zip(chosen).zip(most) {
        table.row([(*name).to_owned(), force, choice, most, locked(name).to_owned()]);
    }
    let on = |on: bool| if on { "on" } else { "off" }.to_owned();
    let shadow = [on(tracking.shadow), on(tracking.own_shadow), String::new(), locked("shadow").to_owned()];
    let [in_force, own, none, is_locked] = shadow;
    table.row(["shadow".to_owned(), in_force, own, none, is_locked]);
    let narrowed = [
        ("visible_urls", &tracking.visible_urls),
        ("place", &tracking.place),
        ("raw_evidence", &tracking.raw_evidence),
    ];
    for (name, one) in narrowed {
        let choice = one.choice.clone().unwrap_or_else(|| "follow".to_owned());
        table.row([name.to_owned(), one.in_force.clone(), choice, one.most.clone(), locked(name).to_owned()]);
    }
    table
}

/// The login's own lists, a line each.
fn lists(tracking: &UserTracking) -> String {
    let recipients = tracking.excluded_recipients.as_ref().map(|list| list.join(", "));
    let rows = [
        ("excluded_recipients", recipients.unwrap_or_else(|| "(not yours to read)".to_owned())),
        ("excluded_hosts", tracking.excluded_hosts.join(", ")),
        ("leave_links", tracking.leave_links.join(", ")),
    ];
    let row = |(name, list): (&str, String)| {
        let locked = if is_locked(tracking, name) { " (locked)" } else { "" };
        format!("{name}{locked}: {}\n", clean(&list))
    };
    rows.into_iter().map(row).collect()
}

fn is_locked(tracking: &UserTracking, name: &str) -> bool {
    tracking.locked.iter().any(|locked| locked == name)
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
    let mut table = Table::whole(&["login", "role", "org", "also sends as"]);
    for user in users {
        table.row([user.login, user.role, user.org.unwrap_or_default(), user.addresses.join(", ")]);
    }
    Ok(table.print("no users")?)
}

fn path(login: &str) -> String {
    format!("/api/v1/users/{}", segment(login))
}
