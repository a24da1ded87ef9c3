//! Subcommands: what is typed, and where it goes.
//!
//! `serve`, `check` and `rewrite` do their work in this process; everything else asks the running server over its admin
//! socket (`client`), so that no command ever opens the stores beside it.

mod check;
mod client;
mod commands;
mod csv;
mod notify;
mod password;
mod rewrite;
mod serve;
mod table;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::policy::sensitive;
use crate::settings::{BadLinkPattern, LinkPattern};
use commands::{
    audit, consent, doctor, events, figures, inbox, keys, link, message, org, people, privacy, queue, test_mail, user,
    webhook, why,
};

/// An SMTP relay you host yourself that tells you what happened to the mail you sent.
#[derive(Debug, Parser)]
#[command(name = "waxseal", version, disable_help_subcommand = true)]
struct Line {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Where the configuration and the running server are.
#[derive(Debug, Clone, Args)]
struct Place {
    /// The configuration file [default: ./config.toml, else the shipped one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The admin socket of the running server [default: admin.sock in the configured data_dir]
    #[arg(long, global = true, value_name = "FILE")]
    socket: Option<PathBuf>,
}

/// How answers are printed.
#[derive(Debug, Clone, Copy, Args)]
struct Form {
    /// JSON for programs instead of a table for people
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay, the tracking site and the dashboard (also without any command)
    Serve,
    /// Read the configuration and tell every problem at once
    Check,
    /// Look at everything now, tracking site to disk: what works, what does not, and what to do about it
    Doctor(Form),
    /// Show what would change in a mail: the rewriter, from standard input to standard output, nothing stored
    Rewrite(RewriteArgs),
    /// Mail that was sent
    #[command(subcommand)]
    Message(message::Command),
    /// Mail that waits to be delivered
    #[command(subcommand)]
    Queue(queue::Command),
    /// Opens and clicks, as they were recorded
    Events(events::Command),
    /// Whom mail was sent to, and what they did with it
    #[command(subcommand)]
    People(people::Command),
    /// Send a test mail through the relay, the way of every mail
    TestMail(test_mail::Command),
    /// How much was opened and clicked: by day, sender, link or place
    Figures(figures::Command),
    /// Who may log in and send
    #[command(subcommand)]
    User(user::Command),
    /// Organisations and their tracking switches
    #[command(subcommand)]
    Org(org::Command),
    /// The built-in inbox
    #[command(subcommand)]
    Inbox(inbox::Command),
    /// The links of a mail that was sent: where they lead now
    #[command(subcommand)]
    Link(link::Command),
    /// What recipients have said: grants and refusals, and what an organisation asks for
    #[command(subcommand)]
    Consent(consent::Command),
    /// What is kept of one address
    #[command(subcommand)]
    Privacy(privacy::Command),
    /// The keys all links are sealed with
    #[command(subcommand)]
    Keys(keys::Command),
    /// Who changed what, when and from where
    Audit(audit::Command),
    /// Why a mail from somebody to somebody is tracked or not: what each level says, and who decides
    Why(why::Command),
    /// Programs that are told of opens, clicks and bounces
    #[command(subcommand)]
    Webhook(webhook::Command),
}

/// Options of `waxseal rewrite`.
#[derive(Debug, Clone, Args)]
pub struct RewriteArgs {
    /// Put the pixel in
    #[arg(long, value_enum, default_value = "on")]
    pub opens: OnOff,
    /// Rewrite links
    #[arg(long, value_enum, default_value = "on")]
    pub links: OnOff,
    /// Rewrite links in plain text too
    #[arg(long, value_enum, default_value = "off")]
    pub text_links: OnOff,
    /// A host never tracked, with everything below it; may be repeated
    #[arg(long = "exclude", value_name = "HOST")]
    pub excluded_hosts: Vec<String>,
    /// Links never tracked, as portal.example.com/account; may be repeated
    #[arg(long = "leave-link", value_name = "HOST/PATH", value_parser = link_pattern)]
    pub leave_links: Vec<LinkPattern>,
    /// A rule about sensitive links that does not count (docs/REWRITING.md); may be repeated
    #[arg(long = "sensitive-off", value_name = "RULE", value_parser = sensitive::switches())]
    pub sensitive_off: Vec<String>,
    /// Print a line-by-line difference instead of the mail
    #[arg(long, conflicts_with = "plan")]
    pub diff: bool,
    /// Print each decision and its reason instead of the mail
    #[arg(long)]
    pub plan: bool,
}

/// A switch on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnOff {
    /// On.
    On,
    /// Off.
    Off,
}

/// `on` and `off`, as they are shown; `true` and `false`, as the API has them.
fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("write on or off".to_owned()),
    }
}

/// clap wants an error it can show.
fn link_pattern(text: &str) -> Result<LinkPattern, String> {
    text.parse().map_err(|why: BadLinkPattern| why.to_string())
}

/// Runs one command line, the program's name first. Exit codes: 0 done, 1 not done, 2 the line is wrong.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match Line::try_parse_from(args) {
        Ok(line) => line,
        Err(answer) => return told(&answer),
    };
    match dispatch(line) {
        Ok(code) => code,
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("waxseal: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What clap has to say: help and version on standard output, mistakes on standard error.
fn told(answer: &clap::Error) -> ExitCode {
    let printed = answer.print();
    match (answer.use_stderr(), printed) {
        (false, Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::from(2),
    }
}

fn dispatch(Line { place, command }: Line) -> anyhow::Result<ExitCode> {
    let config = place.config.clone();
    match command {
        None | Some(Command::Serve) => serve::serve(config.as_deref()),
        Some(Command::Check) => check::check(config.as_deref()),
        Some(Command::Doctor(form)) => doctor::run(&place, form),
        Some(Command::Rewrite(args)) => rewrite::rewrite(&args),
        Some(Command::Message(command)) => commands::ask(&place, async |client| message::run(client, command).await),
        Some(Command::Queue(command)) => commands::ask(&place, async |client| queue::run(client, command).await),
        Some(Command::Events(command)) => commands::ask(&place, async |client| events::run(client, command).await),
        Some(Command::Figures(command)) => commands::ask(&place, async |client| figures::run(client, command).await),
        Some(Command::People(command)) => commands::ask(&place, async |client| people::run(client, command).await),
        Some(Command::TestMail(command)) => commands::ask(&place, async |client| test_mail::run(client, command).await),
        Some(Command::User(command)) => commands::ask(&place, async |client| user::run(client, command).await),
        Some(Command::Org(command)) => commands::ask(&place, async |client| org::run(client, command).await),
        Some(Command::Inbox(command)) => commands::ask(&place, async |client| inbox::run(client, command).await),
        Some(Command::Link(command)) => commands::ask(&place, async |client| link::run(client, command).await),
        Some(Command::Audit(command)) => commands::ask(&place, async |client| audit::run(client, command).await),
        Some(Command::Consent(command)) => commands::ask(&place, async |client| consent::run(client, command).await),
        Some(Command::Privacy(command)) => commands::ask(&place, async |client| privacy::run(client, command).await),
        Some(Command::Keys(command)) => commands::ask(&place, async |client| keys::run(client, command).await),
        Some(Command::Why(command)) => commands::ask(&place, async |client| why::run(client, command).await),
        Some(Command::Webhook(command)) => commands::ask(&place, async |client| webhook::run(client, command).await),
    }
}

/// `waxseal events | head`: the reader has seen enough.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let broken = |io: &std::io::Error| io.kind() == std::io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<std::io::Error>().is_some_and(broken))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn lines_that_are_understood_and_lines_that_are_not() {
        let rows: &[(&str, bool)] = &[
            // running, checking, trying out
            ("", true),
            ("serve --config other.toml", true),
            ("--config other.toml serve", true),
            ("check", true),
            ("doctor --json", true),
            ("doctor now", false),
            ("rewrite --opens on --links off --text-links on --plan", true),
            ("rewrite --plan --diff", false),
            (
                "rewrite --plan --exclude a.example --leave-link b.example/c --leave-link */d --sensitive-off token",
                true,
            ),
            ("rewrite --plan --leave-link https://b.example/", false),
            ("rewrite --plan --sensitive-off reset", false),
            ("rewrite --opens maybe", false),
            // mail and events
            ("message list --org acme --limit 5 --json", true),
            ("message show 00000000000000a1", true),
            ("message show", false),
            ("events --follow --json", true),
            ("events --message 00000000000000a1 --after 7", true),
            // the queue: what cannot be undone wants to be confirmed
            ("queue list --json", true),
            ("queue show 00000000000000a1", true),
            ("queue show", false),
            ("queue retry 00000000000000a1 00000000000000b0", true),
            ("queue retry --all", true),
            ("queue retry --all 00000000000000a1", false),
            ("queue retry", false),
            ("queue drop 00000000000000a1 --yes", true),
            ("queue drop --all", false),
            ("queue drop", false),
            // users
            ("user add ann@acme.example --org acme", true),
            ("user add root2 --role server-admin --generate", true),
            ("user add ann --org acme --role org-admin --address a@b.example --address c@d.example", true),
            ("user add ann --org acme --role king", false),
            ("user passwd ann", true),
            ("user passwd", false),
            ("user remove ann", true),
            ("user notices ann --mail on --level every", true),
            ("user notices ann --mail maybe", false),
            ("user notices ann", false),
            ("user tracking ann", true),
            ("user tracking ann --opens off --text-links follow --shadow true --json", true),
            ("user tracking ann --opens on", false),
            ("user app-password add ann --name phone", true),
            ("user app-password add ann", false),
            ("user app-password list ann --json", true),
            ("user app-password revoke ann 00", true),
            ("user api-key add ann --name ci --scope read --scope send-test --days 30", true),
            ("user api-key add ann --name ci", false),
            ("user api-key add ann --name ci --scope everything", false),
            ("user api-key revoke ann", false),
            ("user sessions ann --end", true),
            ("user invite ann --org acme --role org-admin", true),
            ("user invite ann", false),
            ("user invitations --withdraw 00", true),
            ("user link ann", true),
            ("user no-second-factor ann", true),
            ("org access acme", true),
            ("org access acme --admins-see-messages true --second-factor required", true),
            ("org access acme --second-factor maybe", false),
            // organisations
            ("org set acme --opens aggregate --links follow --text-links off", true),
            ("org set acme --domain a.example --domain b.example", true),
            ("org set acme", false),
            (
                "org set acme --lock opens --lock links --shadow true --sensitive-off token --leave-link a.example/b",
                true,
            ),
            ("org set acme --exclude-recipient a@b.example --lock=", true),
            ("org set acme --shadow off", true),
            ("org set acme --shadow true --raw-evidence on --honour-gpc false", true),
            ("org access acme --admins-see-messages on", true),
            ("user tracking ann --shadow on", true),
            ("org set acme --shadow perhaps", false),
            ("message list --recipient bob --subject offer --sender ann --from 2026-11-01 --until 2026-11-30", true),
            ("message list --delivery refused --readers not-opened", true),
            ("message list --delivery lost", false),
            ("figures --by sender --days 7", true),
            ("figures --by weather", false),
            ("people list --address bob --org acme --json", true),
            ("people show bob@reader.example", true),
            ("test-mail bob@reader.example --org acme --json", true),
            ("test-mail", false),
            ("org set acme --opens sometimes", false),
            // links, inbox, keys
            ("link show 00000000000000a1", true),
            ("link edit 00000000000000a1 0 https://example.com/", true),
            ("link edit 00000000000000a1 0", false),
            ("link withdraw 00000000000000a1 0", true),
            ("link restore 00000000000000a1 70000", false),
            ("inbox list", true),
            ("inbox show 20261123T200007Z-a1", true),
            // what recipients said: a note needs its source, an erasure a yes
            ("consent list --org acme --json", true),
            ("consent show a@b.example --org acme", true),
            ("consent grant a@b.example --org acme --source form --wording yes --at 2026-11-23T20:00:00Z", true),
            ("consent grant a@b.example --org acme", false),
            ("consent refuse a@b.example --org acme --source call", true),
            ("consent withdraw a@b.example --source call", false),
            ("consent import grants.csv --org acme", true),
            ("consent rule --org acme", true),
            ("consent rule --org acme --consent required --without-consent aggregate --footer default", true),
            ("consent rule --org acme --consent maybe", false),
            ("privacy export a@b.example", true),
            ("privacy erase a@b.example", false),
            ("privacy erase a@b.example --org acme --yes", true),
            ("keys rotate", true),
            // the audit log
            ("audit --org acme --before 7 --limit 5 --json", true),
            ("audit --limit 0", false),
            ("audit --limit 1001", false),
            // why
            ("why --from ann --to bob@x.example --json", true),
            (
                "why --from ann --to bob@x.example --org acme --header X-Waxseal-Opens:off --header X-Waxseal-Links:off",
                true,
            ),
            ("why --from ann", false),
            // webhooks
            ("webhook add https://hooks.example/ --org acme", true),
            (
                "webhook add https://hooks.example/ --org acme --topic message.opened --topic message.clicked --words",
                true,
            ),
            ("webhook add https://hooks.example/", false),
            ("webhook add https://hooks.example/ --org acme --topic message.read", false),
            ("webhook edit 00000000000000ac --pause", true),
            ("webhook edit 00000000000000ac --pause --resume", false),
            ("webhook edit 00000000000000ac", false),
            ("webhook deliveries 00000000000000ac --state failed --json", true),
            ("webhook replay 00000000000000ac 7", true),
            ("webhook replay 00000000000000ac --failed", true),
            ("webhook replay 00000000000000ac", false),
            ("webhook test 00000000000000ac", true),
            ("webhook remove 00000000000000ac", true),
            ("fly", false),
        ];
        for (text, expected) in rows {
            let line = ["waxseal"].into_iter().chain(text.split_whitespace());
            let parsed = Line::try_parse_from(line);
            assert_eq!(parsed.is_ok(), *expected, "{text}: {:?}", parsed.err().map(|e| e.to_string()));
        }
    }
}
