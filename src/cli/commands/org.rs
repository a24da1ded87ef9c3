//! `waxseal org list|show|set|access|upstream-password`

use clap::{ArgGroup, Args, Subcommand};
use hyper::Method;

use super::super::Form;
use super::super::client::{Client, segment};
use super::super::table::{Table, clean, print, print_json};
use super::super::{on_off, password};
use crate::admin::api::shapes::{self, AccessPatch, Org, OrgPatch, Switches, UpstreamPasswordPut};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Command {
    /// Every organisation and what is in force for it
    List(Form),
    /// One organisation
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        form: Form,
    },
    /// Change its switches, never above the ceiling in config.toml
    Set(Box<Set>),
    /// Who gets in how, and whether its admins see everybody's mail; shows it when nothing is to be changed
    Access(Access),
    /// Seal the password of its own upstream's account: typed without echo, or the first line of standard input
    UpstreamPassword {
        /// Its name
        name: String,
        /// Forget the one there is; its mail is held then
        #[arg(long)]
        remove: bool,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Access {
    /// Its name
    name: String,
    /// Its admins see everybody's mail, not counts alone
    #[arg(long, value_name = "ON|OFF", value_parser = on_off)]
    admins_see_messages: Option<bool>,
    /// A second factor is asked of everybody
    #[arg(long, value_parser = ["required", "optional"])]
    second_factor: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl Access {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Access { name, admins_see_messages, second_factor, form } = self;
        let path = format!("{}/access", path(&name));
        let access: shapes::Access = if admins_see_messages.is_none() && second_factor.is_none() {
            client.get(&path).await?
        } else {
            client.send(Method::PATCH, &path, &AccessPatch { admins_see_messages, second_factor }).await?
        };
        if form.json {
            return print_json(&access);
        }
        let shapes::Access { admins_see_messages, second_factor } = access;
        Ok(print(&format!("admins_see_messages: {admins_see_messages}\nsecond_factor: {second_factor}\n"))?)
    }
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true))]
pub(in crate::cli) struct Set {
    /// Its name
    name: String,
    /// The pixel; `follow` keeps to the ceiling
    #[arg(long, group = "change", value_parser = ["off", "aggregate", "individual", "follow"])]
    opens: Option<String>,
    /// Links in HTML
    #[arg(long, group = "change", value_parser = ["off", "aggregate", "individual", "follow"])]
    links: Option<String>,
    /// Links in plain text
    #[arg(long, group = "change", value_parser = ["off", "on", "follow"])]
    text_links: Option<String>,
    /// Links whose text is itself a web address
    #[arg(long, group = "change", value_parser = ["track", "leave"])]
    visible_urls: Option<String>,
    /// Our own old tracking in quoted replies
    #[arg(long, group = "change", value_parser = ["unwrap", "leave"])]
    quotes: Option<String>,
    /// A host never tracked, with everything below it; may be repeated, replaces the list, '' empties it
    #[arg(long = "exclude", value_name = "HOST", group = "change")]
    excluded_hosts: Option<Vec<String>>,
    /// A domain its users may send as; may be repeated, replaces the list
    #[arg(long = "domain", value_name = "DOMAIN", group = "change")]
    domains: Option<Vec<String>>,
    #[command(flatten)]
    rules: Rules,
    #[command(flatten)]
    events: Events,
    #[command(flatten)]
    form: Form,
}

/// Who and what is never tracked, what users may not change, and shadow mode.
#[derive(Debug, Args)]
struct Rules {
    /// A recipient never tracked, an address or a domain; may be repeated, replaces the list, '' empties it
    #[arg(long = "exclude-recipient", value_name = "RECIPIENT", group = "change")]
    excluded_recipients: Option<Vec<String>>,
    /// A rule about sensitive links that does not count (docs/REWRITING.md); may be repeated, replaces the list, '' switches all on
    #[arg(long = "sensitive-off", value_name = "RULE", group = "change")]
    sensitive_off: Option<Vec<String>>,
    /// Links never tracked, as portal.example.com/account; may be repeated, replaces the list, '' empties it
    #[arg(long = "leave-link", value_name = "HOST/PATH", group = "change")]
    leave_links: Option<Vec<String>>,
    /// What its users may not change for themselves: opens, links, text_links, shadow, visible_urls, place, raw_evidence,
    /// excluded_recipients, excluded_hosts, leave_links; may be repeated, replaces the list, '' unlocks all
    #[arg(long = "lock", value_name = "SWITCH", group = "change")]
    locked: Option<Vec<String>>,
    /// Mail leaves as it came, and the record says what would have been tracked
    #[arg(long, value_name = "ON|OFF", group = "change", value_parser = on_off)]
    shadow: Option<bool>,
}

/// How its readers' events are judged, and what is kept of them.
#[derive(Debug, Args)]
struct Events {
    /// A rule that does not judge its events (docs/VERDICTS.md); may be repeated, replaces the list, '' switches all on
    #[arg(long = "rule-off", value_name = "RULE", group = "change")]
    rules_off: Option<Vec<String>>,
    /// A network of its own people; may be repeated, replaces the list, '' empties it
    #[arg(long = "own-network", value_name = "NETWORK", group = "change")]
    own_networks: Option<Vec<String>>,
    /// How exactly a place is kept
    #[arg(long, group = "change", value_parser = ["city", "country"])]
    place: Option<String>,
    /// Keep address and User-Agent with each event: personal data
    #[arg(long, value_name = "ON|OFF", group = "change", value_parser = on_off)]
    raw_evidence: Option<bool>,
    /// Do not record readers whose browsers send Sec-GPC or DNT
    #[arg(long, value_name = "ON|OFF", group = "change", value_parser = on_off)]
    honour_gpc: Option<bool>,
    /// Days its events are kept; 0: as long as the server keeps them
    #[arg(long, value_name = "DAYS", group = "change")]
    events_days: Option<u32>,
    /// Days its mails' records are kept; 0: as long as the server keeps them
    #[arg(long, value_name = "DAYS", group = "change")]
    messages_days: Option<u32>,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(form) => list(client, form).await,
        Command::Show { name, form } => show(&client.get(&path(&name)).await?, form),
        Command::Set(set) => set.run(client).await,
        Command::Access(access) => access.run(client).await,
        Command::UpstreamPassword { name, remove } => upstream_password(client, &name, remove).await,
    }
}

async fn upstream_password(client: &Client, name: &str, remove: bool) -> anyhow::Result<()> {
    let at = format!("{}/upstream-password", path(name));
    if remove {
        client.order(Method::DELETE, &at, None::<&()>).await?;
        return Ok(print("forgotten: its mail is held until there is another\n")?);
    }
    let password = password::new(false)?.reveal().to_owned();
    client.order(Method::PUT, &at, Some(&UpstreamPasswordPut { password })).await?;
    Ok(print("sealed: in force with the next mail, and for what waits\n")?)
}

impl Set {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Set { name, opens, links, text_links, visible_urls, quotes, excluded_hosts, domains, rules, events, form } =
            self;
        let Rules { excluded_recipients, sensitive_off, leave_links, locked, shadow } = rules;
        let Events { rules_off, own_networks, place, raw_evidence, honour_gpc, events_days, messages_days } = events;
        let patch = OrgPatch {
            opens,
            links,
            text_links,
            visible_urls,
            quotes,
            excluded_hosts,
            excluded_recipients,
            sensitive_off,
            leave_links,
            locked,
            shadow,
            domains,
            rules_off,
            own_networks,
            place,
            raw_evidence,
            honour_gpc,
            events_days,
            messages_days,
        };
        let org: Org = client.send(Method::PATCH, &path(&name), &patch).await?;
        show(&org, form)
    }
}

async fn list(client: &Client, form: Form) -> anyhow::Result<()> {
    let orgs: Vec<Org> = client.get("/api/v1/orgs").await?;
    if form.json {
        return print_json(&orgs);
    }
    let mut table = Table::new(&["org", "opens", "links", "text links", "shadow", "users", "domains"]);
    for org in orgs {
        let [opens, links, text_links] = words(&org.in_force, "");
        let shadow = if org.shadow { "shadow" } else { "" }.to_owned();
        table.row([org.name, opens, links, text_links, shadow, org.users.to_string(), org.domains.join(", ")]);
    }
    Ok(table.print("no organisations; add an [[org]] to config.toml")?)
}

fn show(org: &Org, form: Form) -> anyhow::Result<()> {
    if form.json {
        return print_json(org);
    }
    let mut table = Table::new(&["switch", "in force", "chosen", "ceiling", "managed by"]);
    let (in_force, chosen, ceiling) = (words(&org.in_force, ""), words(&org.choice, "follow"), words(&org.ceiling, ""));
    for (((name, force), choice), most) in
        ["opens", "links", "text_links"].iter().zip(in_force).zip(chosen).zip(ceiling)
    {
        let managed = if org.managed.iter().any(|managed| managed == name) { "config.toml" } else { "" };
        table.row([(*name).to_owned(), force, choice, most, managed.to_owned()]);
    }
    let on = |on: bool| if on { "on" } else { "off" }.to_owned();
    let days = |days: Option<u32>| days.map_or_else(|| "as the server".to_owned(), |days| days.to_string());
    let rows = [
        ("domains", org.domains.join(", ")),
        ("visible_urls", org.visible_urls.clone()),
        ("quotes", org.quotes.clone()),
        ("excluded_hosts", org.excluded_hosts.join(", ")),
        ("excluded_recipients", org.excluded_recipients.join(", ")),
        ("sensitive_off", org.sensitive_off.join(", ")),
        ("leave_links", org.leave_links.join(", ")),
        ("locked", org.locked.join(", ")),
        ("shadow", on(org.shadow)),
        ("rules_off", org.rules_off.join(", ")),
        ("own_networks", org.own_networks.join(", ")),
        ("place", org.place.clone()),
        ("raw_evidence", on(org.raw_evidence)),
        ("honour_gpc", on(org.honour_gpc)),
        ("events_days", days(org.events_days)),
        ("messages_days", days(org.messages_days)),
        ("tracking_url", org.tracking_url.clone().unwrap_or_else(|| "[web] public_url".to_owned())),
        ("users", org.users.to_string()),
    ];
    let row = |(name, value): (&str, String)| {
        let managed = if org.managed.iter().any(|managed| managed == name) { " (config.toml)" } else { "" };
        format!("{name}{managed}: {value}\n")
    };
    let rest: String = rows.into_iter().map(row).collect();
    Ok(print(&format!("{}\n\n{table}\n{rest}", clean(&org.name)))?)
}

pub(super) fn words(switches: &Switches, none: &str) -> [String; 3] {
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| none.to_owned());
    let on = match switches.text_links {
        Some(true) => "on",
        Some(false) => "off",
        None => none,
    };
    [mode(&switches.opens), mode(&switches.links), on.to_owned()]
}

fn path(name: &str) -> String {
    format!("/api/v1/orgs/{}", segment(name))
}
