//! A group of visits becomes events: each judged with what is known of its copy, none waiting for another's disk.
//!
//! **Invariant:** an event of the group that another of the group changes is changed before it is on record, and keeps
//! its former verdict all the same. Address and raw agent end here, unless the organisation keeps them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::agent::{Agent, Agents};
use super::known::{Copies, Known};
use super::recorder::Visit;
use crate::event::agent::AgentList;
use crate::event::classify::verdict;
use crate::event::judge::{Copy, Request, judge};
use crate::event::network::network_hash;
use crate::event::recent::Ticket;
use crate::event::source::{NetworkList, Source};
use crate::event::{Event, EventKind, Evidence, Rule, RuleSet, Verdict};
use crate::geo::{Geo, Place};
use crate::settings::privacy::{Consent, ConsentRule, Says};
use crate::settings::{Choice, Mode, Org, OrgName, PlaceDetail, Rules};
use crate::store::Snapshot;
use crate::store::record::{CopyFacts, CopyId, Mended, Recording};
use crate::token::{InstanceKey, PersonId};

/// Tickets from here on are places in the group; below it they are sequences of events on record.
const IN_GROUP: Ticket = 1 << 63;

/// What judging goes by besides the history.
pub(super) struct Judging {
    pub(super) agents: AgentList,
    pub(super) networks: NetworkList,
    pub(super) geo: Arc<Geo>,
    pub(super) instance: InstanceKey,
    /// See [`super::Options::inbox_mode`].
    pub(super) inbox_mode: bool,
    /// `[privacy]`.
    pub(super) consent: Arc<ArcSwap<ConsentRule>>,
}

/// Judges; owned by the recorder's thread.
pub(super) struct Judge {
    networks: NetworkList,
    geo: Arc<Geo>,
    instance: InstanceKey,
    inbox_mode: bool,
    consent: Arc<ArcSwap<ConsentRule>>,
    agents: Agents,
    copies: Copies,
    /// Erasures when the copies were read.
    erasures: u64,
}

/// A group, judged.
#[derive(Debug, Default)]
pub(super) struct Group {
    events: Vec<Event>,
    mended: HashMap<i64, Mended>,
}

impl Judge {
    pub(super) fn new(judging: Judging) -> Judge {
        let Judging { agents, networks, geo, instance, inbox_mode, consent } = judging;
        let (agents, copies) = (Agents::new(agents), Copies::default());
        Judge { networks, geo, instance, inbox_mode, consent, agents, copies, erasures: 0 }
    }

    /// Has the copies read anew when somebody was erased since.
    pub(super) fn heed_erasures(&mut self, erasures: u64) {
        if std::mem::replace(&mut self.erasures, erasures) != erasures {
            self.copies.read_anew();
        }
    }

    /// The copies that the history must be asked of first.
    pub(super) fn to_read(&self, visits: &[Visit]) -> Vec<CopyId> {
        let mut ids: Vec<CopyId> = visits
            .iter()
            .map(|visit| (copy_id(visit), visit.at_ms))
            .filter(|(id, at_ms)| self.copies.must_read(id, *at_ms))
            .map(|(id, _)| id)
            .collect();
        ids.sort_unstable_by_key(|id| (id.message, id.copy_index));
        ids.dedup();
        ids
    }

    /// Takes in the answer.
    pub(super) fn learn(&mut self, ids: Vec<CopyId>, facts: Vec<Option<CopyFacts>>, at_ms: i64) {
        for (id, facts) in ids.into_iter().zip(facts) {
            let person = |org: &OrgName, address: &str| PersonId::of(&self.instance, org.as_str(), address.as_bytes());
            self.copies.learn(id, facts, at_ms, person);
        }
    }

    /// Judges every visit, in order; and of how many nothing is kept because somebody does not want it.
    pub(super) fn judge(&mut self, visits: &[Visit], settings: &Snapshot) -> (Recording, u64) {
        let mut group = Group { events: Vec::with_capacity(visits.len()), mended: HashMap::new() };
        let mut withheld = 0;
        for visit in visits {
            let refuses = visit.refuses && self.honours_gpc(visit, settings);
            if refuses || !self.may_record(visit, settings) {
                withheld += 1;
            } else {
                self.judge_one(visit, settings, &mut group);
            }
        }
        (Recording { events: group.events, mended: group.mended.into_values().collect() }, withheld)
    }

    /// The group's events are on record under these sequences.
    pub(super) fn recorded(&mut self, events: &[Event], sequences: &[i64]) {
        for ((place, event), sequence) in (IN_GROUP..).zip(events).zip(sequences) {
            let id = CopyId { message: event.id.message, copy_index: event.id.recipient };
            self.copies.get(id).recent.rename(place, sequence.cast_unsigned());
        }
    }

    /// The group's events are lost.
    pub(super) fn lost(&mut self, events: &[Event]) {
        for event in events {
            let id = CopyId { message: event.id.message, copy_index: event.id.recipient };
            self.copies.get(id).recent.forget_from(IN_GROUP);
        }
    }

    /// Whether the one who is to be recorded may be (DESIGN 8): a "no" counts at once, for mail long sent, too. Of a copy
    /// nobody knows any more it cannot be told whose it was: where anybody has said no, nothing is kept of it.
    fn may_record(&mut self, visit: &Visit, settings: &Snapshot) -> bool {
        let known = self.copies.get(copy_id(visit));
        let Some(org) = &known.org else { return !settings.people.has_noes() };
        let rule = **self.consent.load();
        let rule = settings.orgs.get(org).map_or(rule, |org| rule.narrowed_by(&org.privacy));
        let of_kind = |choice: Choice| match visit.kind {
            EventKind::Open => choice.opens,
            EventKind::Click => choice.links,
        };
        let says = |person| settings.people.standing(org, person).says();
        // A shared copy is a figure; where consent is asked for by now, one of people who may all be counted. What was sent so
        // cannot be taken back for one of them.
        let Some(reader) = &known.reader else {
            let may = |person: &PersonId| match says(*person) {
                Says::No => true,
                says => of_kind(rule.choice_for(says)).is_none_or(|most| Mode::Aggregate <= most),
            };
            return rule.consent == Consent::None || known.sharers.iter().all(may);
        };
        if reader.address.is_empty() {
            return false;
        }
        if settings.people.is_empty() && rule.consent == Consent::None {
            return true;
        }
        let person = PersonId::of(&self.instance, org.as_str(), reader.address.as_bytes());
        let says = says(person);
        let mode = match visit.kind {
            EventKind::Open => reader.opens,
            EventKind::Click => reader.links,
        };
        says != Says::No && of_kind(rule.choice_for(says)).is_none_or(|most| mode <= most)
    }

    /// Whether the organisation takes a browser's refusal for one; the default, when it is not known whose mail it is.
    fn honours_gpc(&mut self, visit: &Visit, settings: &Snapshot) -> bool {
        let known = self.copies.get(copy_id(visit));
        let org = known.org.as_ref().and_then(|name| settings.orgs.get(name));
        org.map(|org| org.keeping).unwrap_or_default().honour_gpc
    }

    fn judge_one(&mut self, visit: &Visit, settings: &Snapshot, group: &mut Group) {
        let agent = self.agents.identify(visit.agent.as_deref());
        let source = self.networks.source(visit.address);
        let network = network_hash(&self.instance, visit.id.message, visit.address);
        let known = self.copies.get(copy_id(visit));
        let org = known.org.as_ref().and_then(|name| settings.orgs.get(name));
        let copy = Copy {
            accepted: known.accepted,
            submission_network: known.submission_network,
            own_networks: org.map_or(&[], |org| &org.own_networks),
            shape: known.shape,
            rules: rules(org),
            inbox_mode: self.inbox_mode && !org.is_some_and(|org| org.managed.upstream),
        };
        let keeping = org.map(|org| rules_of(org, known, settings).keeping()).unwrap_or_default();
        let request = request(visit, &agent, source, network);
        let outcome = judge(&mut known.recent, group.next_ticket(), &request, &copy);
        for ticket in outcome.rejudged {
            group.rejudge(ticket, Rule::Burst);
        }
        match outcome.repeat_of {
            Some(first) => group.repeat(first),
            None => {
                let verdict = verdict(outcome.rule);
                let place = self.place(verdict, visit.address, keeping.place);
                let mut event = event(visit, agent, verdict, outcome.rule, place, source, network);
                event.evidence = keeping.raw_evidence.then(|| evidence(visit));
                group.events.push(event);
            }
        }
    }

    /// As exact as may be kept. Behind an image proxy nobody knows.
    fn place(&self, verdict: Verdict, address: IpAddr, detail: PlaceDetail) -> Place {
        if verdict == Verdict::Proxy {
            return Place::default();
        }
        let Place { country, city } = self.geo.place(address);
        Place { country, city: city.filter(|_| detail == PlaceDetail::City) }
    }
}

impl Group {
    fn next_ticket(&self) -> Ticket {
        IN_GROUP + self.events.len() as Ticket
    }

    fn in_group(&mut self, ticket: Ticket) -> Option<&mut Event> {
        self.events.get_mut(usize::try_from(ticket.checked_sub(IN_GROUP)?).ok()?)
    }

    fn on_record(&mut self, ticket: Ticket) -> &mut Mended {
        let sequence = ticket.cast_signed();
        self.mended.entry(sequence).or_insert(Mended { sequence, repeats: 0, verdict: None })
    }

    fn repeat(&mut self, first: Ticket) {
        match self.in_group(first) {
            Some(event) => event.repeats += 1,
            None => self.on_record(first).repeats += 1,
        }
    }

    fn rejudge(&mut self, ticket: Ticket, rule: Rule) {
        let verdict = verdict(Some(rule));
        match self.in_group(ticket) {
            Some(event) => {
                event.former = event.former.or(Some(event.verdict));
                event.verdict = verdict;
                event.rule = rule.as_str().to_owned();
            }
            None => self.on_record(ticket).verdict = Some((verdict, rule)),
        }
    }
}

fn copy_id(visit: &Visit) -> CopyId {
    CopyId { message: visit.id.message, copy_index: visit.id.recipient }
}

fn rules(org: Option<&Org>) -> RuleSet {
    org.map_or(RuleSet::ALL, |org| RuleSet::without(org.rules_off.iter().map(String::as_str)))
}

/// What the organisation and the sender have in force now. A login that is gone, or another organisation's by now, asks for
/// nothing any more.
fn rules_of<'s>(org: &'s Org, known: &Known, settings: &'s Snapshot) -> Rules<'s> {
    let user = known.login.as_ref().and_then(|login| settings.users.get(login));
    Rules::of(org, user.filter(|user| user.org.as_ref() == Some(&org.name)).map(|user| &user.own))
}

fn request(visit: &Visit, agent: &Agent, source: Source, network: [u8; 8]) -> Request {
    Request {
        at_ms: visit.at_ms,
        kind: visit.kind,
        link: visit.id.link,
        ahead_of_need: visit.ahead_of_need,
        agent: agent.signs,
        address: visit.address,
        source,
        network,
    }
}

fn event(
    visit: &Visit,
    agent: Agent,
    verdict: Verdict,
    rule: Option<Rule>,
    place: Place,
    source: Source,
    network: [u8; 8],
) -> Event {
    Event {
        at_ms: visit.at_ms,
        id: visit.id,
        kind: visit.kind,
        verdict,
        rule: rule.map(|rule| rule.as_str().to_owned()).unwrap_or_default(),
        former: None,
        repeats: 0,
        country: place.country,
        city: place.city,
        via: source.via,
        agent_family: agent.client,
        os_family: agent.os,
        device_family: agent.device,
        network_hash: Some(network),
        evidence: None,
    }
}

fn evidence(visit: &Visit) -> Evidence {
    Evidence { address: visit.address, agent: visit.agent.as_deref().map(str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::privacy::{Act, Noted, Standing};
    use crate::store::record::Reader;
    use crate::token::{MessageId, Secret, TokenId};

    const COPY: CopyId = CopyId { message: MessageId(1), copy_index: 7 };

    fn acme() -> OrgName {
        "acme".parse().unwrap()
    }

    fn facts(reader: Option<Reader>) -> CopyFacts {
        CopyFacts {
            org: acme(),
            login: Some("ann".to_owned()),
            network_hash: None,
            links: 1,
            recipients: if reader.is_some() { 1 } else { 2 },
            accepted_at_ms: None,
            waiting_since_ms: None,
            settled: true,
            readers: reader.map_or_else(shared_by_two, |reader| vec![reader]),
            past: Vec::new(),
        }
    }

    /// The same person under two addresses.
    fn shared_by_two() -> Vec<Reader> {
        let one =
            |address: &str| Reader { address: address.to_owned(), opens: Mode::Aggregate, links: Mode::Aggregate };
        vec![one("bob@x.test"), one("Bob@X.test")]
    }

    fn reader(address: &str, opens: Mode) -> Option<Reader> {
        Some(Reader { address: address.to_owned(), opens, links: Mode::Individual })
    }

    fn judge_of(rule: ConsentRule) -> Judge {
        Judge::new(Judging {
            agents: AgentList::shipped(),
            networks: NetworkList::shipped(),
            geo: Arc::new(Geo::none()),
            instance: InstanceKey::derive(&Secret([1; 32])),
            inbox_mode: true,
            consent: Arc::new(ArcSwap::from_pointee(rule)),
        })
    }

    /// An open by a person.
    fn visit() -> Visit {
        Visit {
            at_ms: 100_000,
            id: TokenId { message: COPY.message, recipient: COPY.copy_index, link: 0 },
            kind: EventKind::Open,
            ahead_of_need: false,
            refuses: false,
            address: "203.0.113.1".parse().unwrap(),
            agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Thunderbird/140.0".into()),
        }
    }

    /// Whether an open of the copy is kept where `bob@x.test` has said this to acme.
    fn is_kept(copy: Option<CopyFacts>, said: Option<Standing>, rule: ConsentRule) -> bool {
        let mut judge = judge_of(rule);
        let mut settings = Snapshot::default();
        if let Some(standing) = said {
            let bob = PersonId::of(&judge.instance, "acme", b"bob@x.test");
            crate::store::settings::apply(&mut settings, &crate::store::Change::PutStanding(acme(), bob, standing));
        }
        judge.learn(vec![COPY], vec![copy], 0);
        let (recording, withheld) = judge.judge(&[visit()], &settings);
        assert_eq!(recording.events.len() as u64 + withheld, 1);
        withheld == 0
    }

    #[test]
    fn who_said_no_is_not_recorded() {
        use Mode::{Aggregate, Individual, Off};
        let after = |act| Standing::default().after(act, 0).ok();
        let withdrawn = Standing { noted: Noted::Withdrawn, acts: 2, ..Standing::default() };
        let free = ConsentRule::default();
        let asked = |without_consent| ConsentRule { consent: Consent::Required, without_consent };
        let bob = |mode| Some(facts(reader("Bob@X.test", mode)));
        let rows = [
            // (copy, what Bob said, rule, kept)
            (bob(Individual), None, free, true),
            (bob(Individual), after(Act::Stop), free, false),
            (bob(Aggregate), after(Act::Stop), free, false),
            (bob(Individual), after(Act::Refuse), free, false),
            (bob(Individual), Some(withdrawn), free, false),
            (bob(Individual), after(Act::Grant), asked(Off), true),
            // consent is asked for since: what he never agreed to is kept no longer
            (bob(Individual), None, asked(Off), false),
            (bob(Individual), None, asked(Aggregate), false),
            (bob(Aggregate), None, asked(Aggregate), true),
            (bob(Aggregate), None, asked(Off), false),
            // somebody else's copy; one shared by several; one whose reader was erased; one nobody knows any more
            (Some(facts(reader("eve@x.test", Individual))), after(Act::Stop), free, true),
            (Some(facts(None)), after(Act::Stop), free, true),
            (Some(facts(None)), None, asked(Off), false),
            (Some(facts(None)), None, asked(Aggregate), true),
            (Some(facts(None)), after(Act::Grant), asked(Off), true),
            (Some(facts(reader("", Aggregate))), None, free, false),
            (None, None, free, true),
            (None, after(Act::Grant), free, true),
            (None, after(Act::Stop), free, false),
        ];
        for (copy, said, rule, kept) in rows {
            assert_eq!(is_kept(copy.clone(), said, rule), kept, "{copy:?} {said:?} {rule:?}");
        }
    }

    /// An erasure is about one person: a burst over another's links goes on, long after a start.
    #[test]
    fn an_erasure_forgets_nobody_elses_last_minute() {
        let mut judge = judge_of(ConsentRule::default());
        let known = CopyFacts { links: 5, ..facts(reader("bob@x.test", Mode::Individual)) };
        judge.learn(vec![COPY], vec![Some(known.clone())], 0);
        let click = |at_ms, link| {
            let id = TokenId { message: COPY.message, recipient: COPY.copy_index, link };
            Visit { at_ms, id, kind: EventKind::Click, ..visit() }
        };
        let settings = Snapshot::default();
        let (before, _) = judge.judge(&[click(100_000, 1), click(100_400, 2)], &settings);
        judge.recorded(&before.events, &[1, 2]);
        judge.heed_erasures(1);
        let last = [click(100_800, 3)];
        assert_eq!(judge.to_read(&last), [COPY], "what the history said of it holds no more");
        judge.learn(vec![COPY], vec![Some(known)], 100_800);
        let (after, _) = judge.judge(&last, &settings);
        assert_eq!(after.events.iter().map(|event| event.rule.as_str()).collect::<Vec<_>>(), ["burst"]);
        let mut taken_back: Vec<i64> = after.mended.iter().map(|mended| mended.sequence).collect();
        taken_back.sort_unstable();
        assert_eq!(taken_back, [1, 2]);
    }

    /// What is kept of an event: the organisation's rule, less what the sender of that very mail takes away, from now on.
    #[test]
    fn a_sender_keeps_less_of_their_own_readers() {
        use crate::settings::{Locked, OwnRules, Role, Switch, User};
        use crate::store::{Change, settings::apply};
        let mut org = Org::named(acme());
        org.keeping.raw_evidence = true;
        let own = OwnRules { country_only: true, no_raw_evidence: true, ..OwnRules::default() };
        let ann = |at: &str, own: &OwnRules| User {
            own: own.clone(),
            ..User::new("ann".into(), Some(at.parse().unwrap()), Role::Sender, String::new())
        };
        let locked = Locked::default().with(Switch::Place).with(Switch::RawEvidence);
        let (kept, less) = ((PlaceDetail::City, true), (PlaceDetail::Country, false));
        let login = |login: Option<&str>| login.map(str::to_owned);
        for (user, locked, sent_by, expected) in [
            (Some(ann("acme", &own)), Locked::default(), login(Some("ann")), less),
            (Some(ann("acme", &OwnRules::default())), Locked::default(), login(Some("ann")), kept),
            // somebody else's mail, a trusted network's, one under a lock
            (Some(ann("acme", &own)), Locked::default(), login(Some("bob")), kept),
            (Some(ann("acme", &own)), Locked::default(), None, kept),
            (Some(ann("acme", &own)), locked, login(Some("ann")), kept),
            // the login is gone, or is another organisation's by now
            (None, Locked::default(), login(Some("ann")), kept),
            (Some(ann("beta", &own)), Locked::default(), login(Some("ann")), kept),
        ] {
            let mut settings = Snapshot::default();
            apply(&mut settings, &Change::PutOrg(Org { locked, ..org.clone() }));
            if let Some(user) = user {
                apply(&mut settings, &Change::PutUser(user));
            }
            let mut judge = judge_of(ConsentRule::default());
            let known = CopyFacts { login: sent_by.clone(), ..facts(reader("bob@x.test", Mode::Individual)) };
            judge.learn(vec![COPY], vec![Some(known)], 0);
            let (recording, _) = judge.judge(&[visit()], &settings);
            assert_eq!(recording.events[0].evidence.is_some(), expected.1, "{sent_by:?}");
            let org = &settings.orgs[&acme()];
            let keeping = rules_of(org, judge.copies.get(COPY), &settings).keeping();
            assert_eq!((keeping.place, keeping.raw_evidence), expected, "{sent_by:?}");
        }
    }
}
