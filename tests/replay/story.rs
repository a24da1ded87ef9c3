//! The stories as they are written; the form stands at the head of `readers.txt`.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;
use waxseal::event::{EventKind, Verdict};

/// One mail's copy and what asked for it.
pub(super) struct Story {
    pub(super) words: String,
    pub(super) links: usize,
    pub(super) from: IpAddr,
    pub(super) office: Vec<IpNet>,
    pub(super) off: Vec<String>,
    pub(super) shared: bool,
    pub(super) waiting: bool,
    pub(super) again_ms: i64,
    pub(super) taken_ms: i64,
    pub(super) inbox: bool,
    pub(super) lost: bool,
    pub(super) steps: Vec<Step>,
    pub(super) summary: String,
}

/// One request.
pub(super) struct Step {
    pub(super) at_ms: i64,
    pub(super) kind: EventKind,
    pub(super) link: u16,
    pub(super) address: IpAddr,
    pub(super) agent: Option<String>,
    pub(super) method: String,
    pub(super) purpose: String,
    pub(super) country: Option<String>,
    pub(super) expected: Expected,
}

/// What it is in the end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expected {
    Nothing,
    Repeat,
    Event(Verdict, String, Option<Verdict>),
}

/// Every story of the file. A line that cannot be read ends the test with its number.
pub(super) fn read(text: &str) -> Vec<Story> {
    let mut agents: HashMap<&str, &str> = HashMap::new();
    let mut stories: Vec<Story> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        let understood = if line.is_empty() || line.starts_with('#') {
            Some(())
        } else if let Some(agent) = line.strip_prefix("agent ") {
            agent.split_once(' ').map(|(name, text)| assert!(agents.insert(name, text).is_none(), "{name} twice"))
        } else if let Some(rest) = line.strip_prefix("mail ") {
            begin(rest).map(|story| stories.push(story))
        } else if let Some(summary) = line.strip_prefix("= ") {
            stories.last_mut().filter(|story| story.summary.is_empty()).map(|story| story.summary = summary.to_owned())
        } else {
            step(line, &agents).zip(stories.last_mut()).map(|(step, story)| story.steps.push(step))
        };
        assert!(understood.is_some(), "line {number} cannot be read: {line}");
    }
    assert!(stories.iter().all(|story| !story.summary.is_empty()), "every story has an end");
    stories
}

fn begin(rest: &str) -> Option<Story> {
    let (words, options) = rest.split_once(" | ").unwrap_or((rest, ""));
    let mut story = Story {
        words: words.to_owned(),
        links: 10,
        from: "198.18.0.1".parse().ok()?,
        office: Vec::new(),
        off: Vec::new(),
        shared: false,
        waiting: false,
        again_ms: 0,
        taken_ms: 0,
        inbox: false,
        lost: false,
        steps: Vec::new(),
        summary: String::new(),
    };
    for option in options.split_whitespace() {
        match option.split_once('=').unwrap_or((option, "")) {
            ("links", value) => story.links = value.parse().ok()?,
            ("from", value) => story.from = value.parse().ok()?,
            ("office", value) => story.office.push(value.parse().ok()?),
            ("off", value) => story.off = value.split(',').map(str::to_owned).collect(),
            ("shared", "") => story.shared = true,
            ("waiting", "") => story.waiting = true,
            ("again", value) => story.again_ms = time(value)?,
            ("taken", value) => story.taken_ms = time(value)?,
            ("inbox", "") => story.inbox = true,
            ("lost", "") => story.lost = true,
            _ => return None,
        }
    }
    Some(story)
}

fn step(line: &str, agents: &HashMap<&str, &str>) -> Option<Step> {
    let (request, expected) = line.split_once(" -> ")?;
    let mut words = request.split_whitespace();
    let at_ms = time(words.next()?.strip_prefix('+')?)?;
    let (kind, link) = match words.next()? {
        "open" => (EventKind::Open, 0),
        click => (EventKind::Click, click.strip_prefix("click:")?.parse().ok()?),
    };
    let address = words.next()?.parse().ok()?;
    let agent = match words.next()? {
        "none" => None,
        name => Some((*agents.get(name)?).to_owned()),
    };
    let (method, purpose, country) = ("GET".to_owned(), String::new(), None);
    let expected = outcome(expected)?;
    let mut step = Step { at_ms, kind, link, address, agent, method, purpose, country, expected };
    for option in words {
        match option.split_once('=')? {
            ("method", value) => step.method = value.to_owned(),
            ("purpose", value) => step.purpose = value.to_owned(),
            ("country", value) => step.country = Some(value.to_owned()),
            _ => return None,
        }
    }
    Some(step)
}

fn time(text: &str) -> Option<i64> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    Some(number.parse::<i64>().ok()? * unit_ms)
}

/// `nothing`, `repeat`, or `VERDICT [RULE] [was VERDICT]`.
fn outcome(text: &str) -> Option<Expected> {
    match text {
        "nothing" => return Some(Expected::Nothing),
        "repeat" => return Some(Expected::Repeat),
        _ => {}
    }
    let (now, former) = match text.split_once(" was ") {
        Some((now, former)) => (now, Some(Verdict::parse(former)?)),
        None => (text, None),
    };
    let (verdict, rule) = now.split_once(' ').unwrap_or((now, ""));
    Some(Expected::Event(Verdict::parse(verdict)?, rule.to_owned(), former))
}
