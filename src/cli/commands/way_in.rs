//! `waxseal user app-password|api-key|sessions|invite|invitations|link`: how somebody and their programs get in.

use clap::{Args, Subcommand};
use hyper::Method;

use super::super::Form;
use super::super::client::{Client, segment};
use super::super::table::{Table, clean, print, print_json, time};
use crate::admin::api::shapes::{
    ApiKey, ApiKeyMade, ApiKeyPost, AppPassword, AppPasswordMade, AppPasswordPost, Invitation, InvitationMade,
    InvitationPost, SessionsEnded, UserSession,
};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AppPasswords {
    /// Make one for a mail program; it is shown once
    Add {
        /// The login
        login: String,
        /// What it is for, for instance the device
        #[arg(long)]
        name: String,
    },
    /// The app passwords of a login
    List(Of),
    /// Take one back; it stops working at once
    Revoke(One),
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ApiKeys {
    /// Make one for a program that uses the API; it is shown once
    Add {
        /// The login
        login: String,
        /// What it is for
        #[arg(long)]
        name: String,
        /// What it may do; may be repeated
        #[arg(long = "scope", required = true, value_parser = SCOPES)]
        scopes: Vec<String>,
        /// Days until it expires [default: it lives until it is revoked]
        #[arg(long)]
        days: Option<u32>,
    },
    /// The API keys of a login
    List(Of),
    /// Take one back; it stops working at once
    Revoke(One),
}

const SCOPES: [&str; 6] = ["read", "send-test", "mail", "settings", "users", "webhooks"];

#[derive(Debug, Args)]
pub(in crate::cli) struct Of {
    /// The login
    login: String,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct One {
    /// The login
    login: String,
    /// Its id, as `list` shows it
    id: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Sessions {
    /// The login
    login: String,
    /// End all of them
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    form: Form,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Invite {
    /// What will be typed at login; usually the mail address
    login: String,
    /// The organisation it will belong to; only a server admin has none
    #[arg(long, value_name = "NAME", required_unless_present = "role")]
    org: Option<String>,
    /// What it will be allowed to do
    #[arg(long, default_value = "sender", value_parser = ["sender", "org-admin", "server-admin"])]
    role: String,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Invitations {
    /// Withdraw this one
    #[arg(long, value_name = "ID")]
    withdraw: Option<String>,
    #[command(flatten)]
    form: Form,
}

impl Invite {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let Invite { login, org, role } = self;
        let made: InvitationMade =
            client.send(Method::POST, "/api/v1/invitations", &InvitationPost { login, org, role }).await?;
        show_link(&made)
    }
}

/// A link to a new password.
pub(super) async fn password_link(client: &Client, login: &str) -> anyhow::Result<()> {
    show_link(&client.send(Method::POST, &path(login, "password-link"), &()).await?)
}

fn show_link(made: &InvitationMade) -> anyhow::Result<()> {
    let (login, until) = (clean(&made.made.login), time(&made.made.expires_at));
    print(&format!("made a link for {login}, for one use until {until} UTC; on the dashboard's address:\n"))?;
    show_once("link", &made.path);
    Ok(())
}

impl Invitations {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        if let Some(id) = self.withdraw {
            let path = format!("/api/v1/invitations/{}", segment(&id));
            client.order(Method::DELETE, &path, None::<&()>).await?;
            return Ok(print(&format!("withdrew {}\n", clean(&id)))?);
        }
        let found: Vec<Invitation> = client.get("/api/v1/invitations").await?;
        if self.form.json {
            return print_json(&found);
        }
        let mut table = Table::whole(&["login", "gives", "org", "role", "until", "id"]);
        for row in found {
            let (org, role) = (row.org.unwrap_or_default(), row.role.unwrap_or_default());
            table.row([row.login, row.gives, org, role, time(&row.expires_at), row.id]);
        }
        Ok(table.print("no open links")?)
    }
}

impl AppPasswords {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            AppPasswords::Add { login, name } => {
                let path = path(&login, "app-passwords");
                let made: AppPasswordMade = client.send(Method::POST, &path, &AppPasswordPost { name }).await?;
                print(&format!("made the app password {} of {}\n", clean(&made.made.name), clean(&login)))?;
                show_once("app password", &made.app_password);
                Ok(())
            }
            AppPasswords::List(Of { login, form }) => {
                let found: Vec<AppPassword> = client.get(&path(&login, "app-passwords")).await?;
                if form.json {
                    return print_json(&found);
                }
                let mut table = Table::new(&["for", "made", "last used", "id"]);
                for row in found {
                    table.row([row.name, time(&row.created_at), used(row.used_at.as_deref()), row.id]);
                }
                Ok(table.print("no app passwords")?)
            }
            AppPasswords::Revoke(one) => one.revoke(client, "app-passwords").await,
        }
    }
}

impl ApiKeys {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        match self {
            ApiKeys::Add { login, name, scopes, days } => {
                let post = ApiKeyPost { name, scopes, days };
                let made: ApiKeyMade = client.send(Method::POST, &path(&login, "api-keys"), &post).await?;
                print(&format!("made the API key {} of {}\n", clean(&made.made.name), clean(&login)))?;
                show_once("API key", &made.api_key);
                Ok(())
            }
            ApiKeys::List(Of { login, form }) => {
                let found: Vec<ApiKey> = client.get(&path(&login, "api-keys")).await?;
                if form.json {
                    return print_json(&found);
                }
                let mut table = Table::new(&["for", "begins with", "may", "expires", "last used", "id"]);
                for row in found {
                    let expires = row.expires_at.as_deref().map_or("never".to_owned(), time);
                    let used = used(row.used_at.as_deref());
                    table.row([row.name, row.begins_with, row.scopes.join(", "), expires, used, row.id]);
                }
                Ok(table.print("no API keys")?)
            }
            ApiKeys::Revoke(one) => one.revoke(client, "api-keys").await,
        }
    }
}

impl One {
    async fn revoke(self, client: &Client, kind: &str) -> anyhow::Result<()> {
        let path = format!("{}/{}", path(&self.login, kind), segment(&self.id));
        client.order(Method::DELETE, &path, None::<&()>).await?;
        Ok(print(&format!("revoked {}\n", clean(&self.id)))?)
    }
}

impl Sessions {
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let path = path(&self.login, "sessions");
        if self.end {
            let done: SessionsEnded = client.send(Method::DELETE, &path, &()).await?;
            return Ok(print(&format!("{} ended\n", done.ended))?);
        }
        let found: Vec<UserSession> = client.get(&path).await?;
        if self.form.json {
            return print_json(&found);
        }
        let mut table = Table::new(&["browser", "began", "last used", "id"]);
        for row in found {
            table.row([row.browser, time(&row.began_at), time(&row.used_at), row.id]);
        }
        Ok(table.print("nobody is logged in")?)
    }
}

fn used(at: Option<&str>) -> String {
    at.map_or("never".to_owned(), time)
}

/// On standard error, so that it does not end up in a file with the rest.
fn show_once(what: &str, secret: &str) {
    eprintln!("{what}: {secret}\nIt is shown only now.");
}

fn path(login: &str, kind: &str) -> String {
    format!("/api/v1/users/{}/{kind}", segment(login))
}
