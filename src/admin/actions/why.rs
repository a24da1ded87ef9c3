//! Why a mail from somebody to somebody is tracked or not: the very plan the relay would make, with each level's part.

use std::borrow::Cow;

use super::{Actions, Refusal};
use crate::admin::viewer::{Sight, Viewer};
use crate::policy::plan::{HeaderChoice, RecipientPlan, SPLIT_RECIPIENTS_MAX, Wish};
use crate::policy::{self, why};
use crate::settings::privacy::{ConsentRule, Says};
use crate::settings::{Level, Levels, Org, OrgName, OwnRules, Rules, Switch, User};
use crate::store::Snapshot;

/// Longest header that is asked about, in bytes.
pub const HEADER_BYTES_MAX: usize = 4096;

/// What is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WhyQuery {
    /// A login, or an address mail is sent from.
    pub from: String,
    /// A recipient's address.
    pub to: String,
    /// Whose mail it is, for a sender without a login; otherwise found by `from`.
    pub org: Option<OrgName>,
    /// The mail's own `X-Waxseal-*` fields, a line each.
    pub header: String,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhyView {
    /// Whose mail.
    pub org: OrgName,
    /// The login whose choice counts; `None`: a trusted network, or an address of no login's.
    pub login: Option<String>,
    /// What would be done.
    pub plan: RecipientPlan,
    /// Each switch with its reason.
    pub reasons: [why::Reason; 3],
    /// Who has mail leave as it came, if anybody.
    pub shadow: Option<Level>,
    /// The entry that excludes the recipient, and whose it is.
    pub excluded_by: Option<(String, Level)>,
    /// Links that show a URL, places, raw evidence, each with its reason.
    pub narrowed: [why::Narrowed; 3],
    /// Links never tracked.
    pub never: Vec<Never>,
    /// Whether recipients have to agree.
    pub rule: ConsentRule,
    /// The sender has recipients of their own who are never tracked, and the viewer may not know whom: this answer does not
    /// look at them.
    pub hides_excluded: bool,
    /// Names in the header asked about that waxseal does not know.
    pub header_unknown: Vec<String>,
}

/// One entry of a list of links never tracked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Never {
    /// Of which list.
    pub list: Switch,
    /// As it is kept.
    pub entry: String,
    /// The organisation's or the sender's.
    pub by: Level,
}

impl Actions {
    /// What a mail from this sender to this recipient would carry, and who decided it.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]: no login, address or domain of an organisation that the viewer belongs to;
    /// [`Refusal::Forbidden`] for a sender who asks about others' mail; [`Refusal::Invalid`] for what is no address and a
    /// header that is too long.
    pub fn why(&self, viewer: &Viewer, query: &WhyQuery) -> Result<WhyView, Refusal> {
        let snapshot = self.settings.snapshot();
        let (org, user) = sender(&snapshot, viewer, query)?;
        let own = user.is_some_and(|user| viewer.login() == Some(&user.login));
        if !viewer.rules(&org.name) && !own {
            return Err(Refusal::Forbidden("you can ask about your own mail; an admin can about everybody's"));
        }
        if query.header.len() > HEADER_BYTES_MAX {
            return Err(Refusal::invalid("header", format!("at most {HEADER_BYTES_MAX} bytes")));
        }
        let (says, rule) = self.standing_of(&snapshot, org, &query.to)?;
        let header = HeaderChoice::read(query.header.replace("\r\n", "\n").as_bytes());
        let levels = Levels::of(**self.ceiling.load(), org, user, header.choice);
        let to = query.to.trim();
        // Whom a sender excludes tells to whom they write.
        let hides = viewer.sight(&org.name, user.map(|user| user.login.as_str())) != Sight::Whole;
        let told = user.map(|user| told(&user.own, hides));
        let rules = Rules::of(org, told.as_deref());
        let planned = policy::plan(&levels, &[Wish::of(rules, to, says, rule)], SPLIT_RECIPIENTS_MAX);
        let plan = planned.recipients.into_iter().next().ok_or_else(|| Refusal::invalid("to", "name a recipient"))?;
        Ok(WhyView {
            org: org.name.clone(),
            login: user.map(|user| user.login.clone()),
            reasons: why::reasons(&plan),
            plan,
            shadow: levels.shadow(),
            excluded_by: rules.excludes(to).map(|(entry, by)| (entry.as_str().to_owned(), by)),
            narrowed: why::narrowed(rules),
            never: never(rules),
            rule,
            header_unknown: HeaderChoice::unknown(&query.header),
            hides_excluded: hides && user.is_some_and(|user| !user.own.excluded_recipients.is_empty()),
        })
    }

    fn standing_of(&self, snapshot: &Snapshot, org: &Org, to: &str) -> Result<(Says, ConsentRule), Refusal> {
        let privacy = self.privacy()?;
        let person = super::people::person_of(privacy, &org.name, to).map_err(|refusal| match refusal {
            Refusal::Invalid { detail, .. } => Refusal::invalid("to", detail),
            other => other,
        })?;
        let says = snapshot.people.standing(&org.name, person).says();
        Ok((says, privacy.consent.load().narrowed_by(&org.privacy)))
    }
}

/// What a sender asks for, as far as the viewer may know it.
fn told(own: &OwnRules, hides: bool) -> Cow<'_, OwnRules> {
    match hides {
        true => Cow::Owned(OwnRules { excluded_recipients: Vec::new(), ..own.clone() }),
        false => Cow::Borrowed(own),
    }
}

/// Hosts, then patterns.
fn never(rules: Rules<'_>) -> Vec<Never> {
    let hosts = rules.excluded_hosts().map(|(host, by)| (Switch::ExcludedHosts, host, by));
    let links = rules.leave_links().map(|(link, by)| (Switch::LeaveLinks, link.as_str(), by));
    hosts.chain(links).map(|(list, entry, by)| Never { list, entry: entry.to_owned(), by }).collect()
}

/// Whose mail it would be: a login's, else that of whoever has the address, else the domain's organisation.
fn sender<'s>(
    snapshot: &'s Snapshot,
    viewer: &Viewer,
    query: &WhyQuery,
) -> Result<(&'s Org, Option<&'s User>), Refusal> {
    let from = query.from.trim();
    let same = |address: &String| address.eq_ignore_ascii_case(from);
    let of_org = |user: &&User| query.org.as_ref().is_none_or(|org| user.org.as_ref() == Some(org));
    let by_address = || snapshot.users.values().find(|user| same(&user.login) || user.addresses.iter().any(same));
    let user = snapshot.users.get(from).or_else(by_address).filter(of_org).filter(|user| user.org.is_some());
    let domain = from.rsplit_once('@').map(|(_, domain)| domain.to_ascii_lowercase()).unwrap_or_default();
    let by_domain = || snapshot.orgs.values().find(|org| org.domains.contains(&domain));
    let org = match (user.and_then(|user| user.org.as_ref()), &query.org) {
        (Some(org), _) | (None, Some(org)) => snapshot.orgs.get(org),
        (None, None) => by_domain(),
    };
    let org = org.filter(|org| viewer.belongs_to(&org.name));
    org.map(|org| (org, user)).ok_or_else(|| Refusal::NotFound { what: format!("organisation that sends as {from:?}") })
}
