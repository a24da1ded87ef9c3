//! `waxseal org list|show|set|access`

use clap::{ArgGroup, Args, Subcommand};
use hyper::Method;

use super::super::Form;
use super::super::client::{Client, segment};
use super::super::table::{Table, clean, print, print_json};
use crate::admin::api::shapes::{Org, OrgAccess, OrgAccessPatch, OrgPatch, Switches};

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
    Set(Set),
    /// What it asks of its people and lets its admins see
    Access(Access),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Access {
    /// Its name
    name: String,
    /// Its admins see everybody's mail, not only counts
    #[arg(long, value_parser = ["on", "off"])]
    admins_see_messages: Option<String>,
    /// Whether the dashboard asks everybody for a code besides the password
    #[arg(long, value_parser = ["required", "optional"])]
    second_factor: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl Access {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let path = format!("{}/access", path(&self.name));
        let patch = OrgAccessPatch {
            admins_see_messages: self.admins_see_messages.map(|value| value == "on"),
            second_factor_required: self.second_factor.map(|value| value == "required"),
        };
        let access: OrgAccess = if patch.admins_see_messages.is_none() && patch.second_factor_required.is_none() {
            client.get(&path).await?
        } else {
            client.send(Method::PATCH, &path, &patch).await?
        };
        if self.form.json {
            return print_json(&access);
        }
        let see = if access.admins_see_messages { "everybody's mail" } else { "counts" };
        let factor = if access.second_factor_required { "required" } else { "optional" };
        Ok(print(&format!("its admins see  {see}\nsecond factor   {factor}\n"))?)
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
    form: Form,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List(form) => list(client, form).await,
        Command::Show { name, form } => show(&client.get(&path(&name)).await?, form),
        Command::Set(set) => set.run(client).await,
        Command::Access(access) => access.run(client).await,
    }
}

impl Set {
    async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Set { name, opens, links, text_links, visible_urls, quotes, excluded_hosts, domains, form } = self;
        let patch = OrgPatch { opens, links, text_links, visible_urls, quotes, excluded_hosts, domains };
        let org: Org = client.send(Method::PATCH, &path(&name), &patch).await?;
        show(&org, form)
    }
}

async fn list(client: &Client, form: Form) -> anyhow::Result<()> {
    let orgs: Vec<Org> = client.get("/api/v1/orgs").await?;
    if form.json {
        return print_json(&orgs);
    }
    let mut table = Table::new(&["org", "opens", "links", "text links", "users", "domains"]);
    for org in orgs {
        let [opens, links, text_links] = words(&org.in_force, "");
        table.row([org.name, opens, links, text_links, org.users.to_string(), org.domains.join(", ")]);
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
    let managed = if org.managed.iter().any(|managed| managed == "domains") { " (config.toml)" } else { "" };
    let rest = format!(
        "\ndomains{managed}: {}\nvisible_urls: {}\nquotes: {}\nexcluded_hosts: {}\ntracking_url: {}\nusers: {}\n",
        org.domains.join(", "),
        org.visible_urls,
        org.quotes,
        org.excluded_hosts.join(", "),
        org.tracking_url.as_deref().unwrap_or("[web] public_url"),
        org.users
    );
    Ok(print(&format!("{}\n\n{table}{rest}", clean(&org.name)))?)
}

fn words(switches: &Switches, none: &str) -> [String; 3] {
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
