//! `readers.txt`, replayed: every story's requests are judged in order, and the timeline in the end is what stands there.

mod story;

use std::collections::HashMap;
use std::fmt::Write as _;

use story::{Expected, Step, Story};
use waxseal::event::agent::AgentList;
use waxseal::event::classify::{Accepted, is_ahead_of_need, is_event, verdict};
use waxseal::event::judge::{Copy, Request, judge};
use waxseal::event::network::network_hash;
use waxseal::event::reading::{Read, reading};
use waxseal::event::recent::{Recent, Shape, Ticket};
use waxseal::event::source::NetworkList;
use waxseal::event::{Event, EventKind, Rule, RuleSet};
use waxseal::store::record::Counts;
use waxseal::token::{InstanceKey, MessageId, Secret, TokenId};

const MESSAGE: MessageId = MessageId(1);

#[test]
fn every_story_ends_as_it_is_written() {
    let stories = story::read(include_str!("readers.txt"));
    assert!(stories.len() >= 200, "only {} stories were read", stories.len());
    let lists = Lists {
        agents: AgentList::shipped(),
        networks: NetworkList::shipped(),
        instance: InstanceKey::derive(&Secret([9; 32])),
    };
    let mut wrong = String::new();
    for story in &stories {
        let (events, summary) = lists.replay(story);
        let expected: Vec<&Expected> = story.steps.iter().map(|step| &step.expected).collect();
        if events.iter().collect::<Vec<_>>() != expected || summary != story.summary {
            writeln!(wrong, "{}\n  {events:?}\n  {summary}", story.words).unwrap();
        }
    }
    assert!(wrong.is_empty(), "these ended otherwise:\n{wrong}");
}

/// What judging goes by.
struct Lists {
    agents: AgentList,
    networks: NetworkList,
    instance: InstanceKey,
}

impl Lists {
    /// What each step comes to in the end, and the last line.
    fn replay(&self, story: &Story) -> (Vec<Expected>, String) {
        let mut recent = Recent::default();
        let mut outcomes = Vec::new();
        let mut events: HashMap<Ticket, (usize, Event)> = HashMap::new();
        for (place, step) in story.steps.iter().enumerate() {
            if !is_event(&step.method) {
                outcomes.push(Expected::Nothing);
                continue;
            }
            let ticket = place as Ticket + 1;
            let request = self.request(step);
            let outcome = judge(&mut recent, ticket, &request, &self.copy(story, step.at_ms));
            for rejudged in outcome.rejudged {
                let (_, event) = events.get_mut(&rejudged).expect("a burst takes back what is on record");
                event.former = event.former.or(Some(event.verdict));
                event.verdict = verdict(Some(Rule::Burst));
                event.rule = Rule::Burst.as_str().to_owned();
            }
            if let Some(first) = outcome.repeat_of {
                events.get_mut(&first).expect("a repeat is of something on record").1.repeats += 1;
                outcomes.push(Expected::Repeat);
                continue;
            }
            events.insert(ticket, (place, event(step, &request, outcome.rule)));
            // Filled in at the end, for a burst may still take it back.
            outcomes.push(Expected::Nothing);
        }
        for (place, event) in events.values() {
            outcomes[*place] = Expected::Event(event.verdict, event.rule.clone(), event.former);
        }
        (outcomes, summary(events.values().map(|(_, event)| event)))
    }

    fn request(&self, step: &Step) -> Request {
        Request {
            at_ms: step.at_ms,
            kind: step.kind,
            link: step.link,
            ahead_of_need: is_ahead_of_need(&step.purpose),
            agent: self.agents.signs(step.agent.as_deref()),
            address: step.address,
            source: self.networks.source(step.address),
            network: network_hash(&self.instance, MESSAGE, step.address),
        }
    }

    fn copy<'a>(&self, story: &'a Story, at_ms: i64) -> Copy<'a> {
        if story.lost {
            return Copy { inbox_mode: story.inbox, ..Copy::default() };
        }
        Copy {
            accepted: accepted(story, at_ms),
            submission_network: Some(network_hash(&self.instance, MESSAGE, story.from)),
            own_networks: &story.office,
            shape: Shape { links: story.links, shared: story.shared },
            rules: RuleSet::without(story.off.iter().map(String::as_str)),
            inbox_mode: story.inbox,
        }
    }
}

/// What the history says at this time: since when it waits, or when upstream took it.
fn accepted(story: &Story, at_ms: i64) -> Accepted {
    if !story.waiting && at_ms >= story.taken_ms {
        return Accepted::At(story.taken_ms);
    }
    Accepted::NotYet(if at_ms >= story.again_ms { story.again_ms } else { 0 })
}

fn event(step: &Step, request: &Request, rule: Option<Rule>) -> Event {
    Event {
        at_ms: step.at_ms,
        id: TokenId { message: MESSAGE, recipient: 1, link: step.link },
        kind: step.kind,
        verdict: verdict(rule),
        rule: rule.map(|rule| rule.as_str().to_owned()).unwrap_or_default(),
        former: None,
        repeats: 0,
        country: step.country.clone(),
        city: None,
        via: request.source.via,
        agent_family: None,
        os_family: None,
        device_family: None,
        network_hash: Some(request.network),
        evidence: None,
    }
}

/// The last line of a story, as it would have to stand there.
fn summary<'a>(events: impl Iterator<Item = &'a Event> + Clone) -> String {
    let counts = events.clone().fold(Counts::default(), |sum, e| sum.and(Counts::of(e.kind, e.verdict)));
    let read = reading(events.clone());
    let word = match read.read {
        Read::No => "no",
        Read::Inferred => "inferred",
        Read::Opened => "opened",
    };
    let clicked = events.filter(|e| e.kind == EventKind::Click).any(|e| e.verdict.counts());
    assert_eq!(read.clicked, clicked);
    let Counts { opens, clicks, machine_opens, machine_clicks } = counts;
    let shared = if read.shared == Some(true) { " shared?" } else { "" };
    format!("{opens} {clicks} {machine_opens} {machine_clicks} {word}{shared}")
}
