//! `[verdicts]`: what the operator adds to the shipped lists of machines and networks.

use super::file::File;
use super::problem::Wrong;
use crate::event::agent::AgentList;
use crate::event::source::NetworkList;

/// `[verdicts]`: lines in the form of `src/event/agents.txt` and `src/event/networks.txt`, each of which can be read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerdictsConfig {
    /// `clicks Acme Link Checker`
    pub more_agents: Vec<String>,
    /// `both 198.51.100.0/24`
    pub more_networks: Vec<String>,
}

impl VerdictsConfig {
    pub(super) fn read(file: &File<'_>) -> VerdictsConfig {
        let section = file.section("verdicts");
        let more_agents = section.list("more_agents", "\"clicks acme-link-checker\"", agent).unwrap_or_default();
        let more_networks = section.list("more_networks", "\"both 192.0.2.0/24\"", network).unwrap_or_default();
        section.finish();
        VerdictsConfig { more_agents, more_networks }
    }
}

fn agent(text: &str) -> Result<String, Wrong> {
    let good = is_one_line(text) && AgentList::none().add(text).is_empty();
    if good { Ok(text.to_owned()) } else { Err(Wrong::AgentLine(text.to_owned())) }
}

fn network(text: &str) -> Result<String, Wrong> {
    let good = is_one_line(text) && NetworkList::default().add(text).is_empty();
    if good { Ok(text.to_owned()) } else { Err(Wrong::NetworkLine(text.to_owned())) }
}

/// A line of a list with something on it: a comment belongs into the TOML.
fn is_one_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(['\n', '\r', '#'])
}
