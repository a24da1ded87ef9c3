//! How to send through this server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::actions::set_up::SetUpView;
use crate::admin::clients::{Block, Program, Section, Span};
use crate::admin::setup::{DoorTls, Setup, SetupDoor};

/// `GET /api/v1/setup`
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SetUp {
    /// The outgoing server.
    pub host: String,
    /// The caller's login; null for who sends no mail.
    pub login: Option<String>,
    /// Whom the caller may send as: `…@domain` for a whole domain.
    pub senders: Vec<String>,
    /// Where programs connect.
    pub doors: Vec<SetUpDoor>,
    /// What to know first.
    pub notes: Vec<String>,
    /// Programs of each kind.
    pub sections: Vec<SetUpSection>,
}

/// One listener.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SetUpDoor {
    /// Its port.
    pub port: u16,
    /// `starttls`, `implicit` or `none`.
    pub tls: String,
    /// Only this machine reaches it.
    pub loopback: bool,
    /// Some networks submit without a login.
    pub networks: bool,
}

/// Programs of one kind.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SetUpSection {
    /// Their kind.
    pub title: String,
    /// Before the first program, in Markdown.
    pub intro: String,
    /// Each.
    pub programs: Vec<SetUpProgram>,
}

/// One program.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SetUpProgram {
    /// Its name.
    pub name: String,
    /// What to do, in Markdown, with the values of this server.
    pub recipe: String,
}

impl SetUp {
    pub(in crate::admin) fn of(setup: &Setup, view: SetUpView) -> SetUp {
        let SetUpView { login, senders, notes, sections, .. } = view;
        SetUp {
            host: setup.host.clone(),
            login,
            senders,
            doors: setup.doors.iter().map(door).collect(),
            notes,
            sections: sections.into_iter().map(section).collect(),
        }
    }
}

fn door(door: &SetupDoor) -> SetUpDoor {
    let tls = match door.tls {
        DoorTls::StartTls => "starttls",
        DoorTls::Implicit => "implicit",
        DoorTls::None => "none",
    };
    SetUpDoor { port: door.port, tls: tls.to_owned(), loopback: door.loopback, networks: door.networks }
}

fn section(section: Section) -> SetUpSection {
    let program = |Program { name, blocks }: Program| SetUpProgram { name, recipe: markdown(&blocks) };
    SetUpSection {
        title: section.title,
        intro: markdown(&section.intro),
        programs: section.programs.into_iter().map(program).collect(),
    }
}

fn markdown(blocks: &[Block]) -> String {
    let text = |block: &Block| match block {
        Block::Words(spans) => spans.iter().map(span).collect::<String>(),
        Block::Code(code) => format!("```\n{}\n```", code.trim_end()),
    };
    blocks.iter().map(text).collect::<Vec<_>>().join("\n\n")
}

fn span(span: &Span) -> String {
    match span {
        Span::Plain(text) => text.clone(),
        Span::Strong(text) => format!("**{text}**"),
        Span::Emphasis(text) => format!("*{text}*"),
        Span::Code(text) => format!("`{text}`"),
    }
}
