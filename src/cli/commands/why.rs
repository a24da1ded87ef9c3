//! `waxseal why`

use clap::Args;

use super::super::Form;
use super::super::client::{Client, query};
use super::super::table::{Table, clean, print, print_json};
use crate::admin::api::shapes::{Why, WhySwitch};
use crate::admin::why_words;

#[derive(Debug, Args)]
pub(in crate::cli) struct Command {
    /// A login, or an address mail is sent from
    #[arg(long, value_name = "SENDER")]
    from: String,
    /// The recipient's address
    #[arg(long, value_name = "ADDRESS")]
    to: String,
    /// The organisation, for a sender without a login
    #[arg(long, value_name = "NAME")]
    org: Option<String>,
    /// A header field of the mail, as "X-Waxseal-Opens: off"; may be repeated
    #[arg(long, value_name = "FIELD")]
    header: Vec<String>,
    #[command(flatten)]
    form: Form,
}

pub(in crate::cli) async fn run(client: &Client, command: Command) -> anyhow::Result<()> {
    let Command { from, to, org, header, form } = command;
    let header = (!header.is_empty()).then(|| header.join("\n"));
    let asked = [("from", Some(from)), ("to", Some(to)), ("org", org), ("header", header)];
    let why: Why = client.get(&format!("/api/v1/why?{}", query(&asked))).await?;
    if form.json {
        return print_json(&why);
    }
    let mut table = Table::new(&["who", "opens", "links", "text links"]);
    for at in 0..why.switches.first().map_or(0, |switch| switch.levels.len()) {
        let cell_of = |column: usize| why.switches.get(column).map(|switch| cell(switch, at)).unwrap_or_default();
        let who = why.switches.first().and_then(|switch| switch.levels.get(at)).map(|level| level.level.clone());
        table.row([who.unwrap_or_default(), cell_of(0), cell_of(1), cell_of(2)]);
    }
    let whose = why
        .login
        .as_deref()
        .map_or_else(|| format!("{}, without a login", why.org), |login| format!("{login} of {}", why.org));
    let shadow =
        why.shadow.as_deref().map(|by| format!("shadow mode ({by}): mail leaves as it came\n")).unwrap_or_default();
    let reasons: String = why
        .switches
        .iter()
        .map(|switch| clean(&format!("{}: {}: {}", switch.switch, switch.in_force, switch.why)) + "\n")
        .collect();
    let unknown = why_words::unknown(&why.header_unknown).map(|words| clean(&words) + "\n").unwrap_or_default();
    Ok(print(&format!("mail of {}\n{shadow}{unknown}\n{reasons}\n{table}\n{}", clean(&whose), besides(&why)))?)
}

/// What the organisation sets and the sender may narrow, and the links that neither tracks.
fn besides(why: &Why) -> String {
    let narrowed = why.narrowed.iter().map(|one| format!("{}: {}: {}", one.switch, one.in_force, one.why));
    let never = why.never_tracked.iter().map(|one| format!("{}: {} ({})", one.list, one.entry, one.decided_by));
    let hidden = "the sender also has recipients of their own who are never tracked; whom is theirs to know";
    let hidden = why.hides_excluded.then(|| hidden.to_owned());
    narrowed.chain(never).chain(hidden).map(|line| clean(&line) + "\n").collect()
}

/// What a level says, and whether it is heard.
fn cell(switch: &WhySwitch, at: usize) -> String {
    let Some(level) = switch.levels.get(at) else { return String::new() };
    let says = level.says.as_deref().unwrap_or("-");
    match (level.locked, level.level == switch.decided_by) {
        (true, _) => format!("{says} (locked)"),
        (false, true) => format!("{says} <- decides"),
        (false, false) => says.to_owned(),
    }
}
