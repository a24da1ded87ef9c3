//! One submission → its copies, the same octets whenever they are rendered: now, or from the spool days later.
//!
//! Everything a copy depends on besides the mail itself is frozen in a [`Recipe`], which travels with the mail.
//!
//! **Invariant:** the same mail, recipe and keys give the same octets. A recipe that says `tracked = false` gives the
//! identity, and so does everything that cannot be rendered as planned.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::message::Body;
use crate::policy::sensitive::Switched;
use crate::policy::{LinkRules, OwnLinks, Plan};
use crate::queue::{Copies, Renderer};
use crate::rewrite::{self, FooterOptions, Limits, Own, Prepared, Slot, Variant};
use crate::settings::privacy::Footer;
use crate::settings::{Level, Mode, Quotes, Rules, Tracking, VisibleUrls};
use crate::spool::Record;
use crate::store::{Override, SettingsStore, Snapshot};
use crate::token::person::PERSON_BYTES;
use crate::token::seal::{Sealer, encoded_len};
use crate::token::{Keyring, Kind, MessageId, PersonId, SiteId, TokenId};

/// What is frozen about one mail's copies. One line of JSON in the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Whether anything of ours is put in at all.
    pub tracked: bool,
    /// Whether history knows this message.
    pub recorded: bool,
    /// The tracking host, 8 hex digits.
    pub site: String,
    /// The key of every token.
    pub key_id: u8,
    /// Our `Received:` field with its line end.
    pub received: String,
    /// `visible_urls = "leave"`
    pub leave_visible_urls: bool,
    /// `quotes = "leave"`
    pub leave_quotes: bool,
    /// Link hosts never tracked.
    pub excluded_hosts: Vec<String>,
    /// Links of the organisation's own that are never tracked ([`crate::settings::LinkPattern`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leave_links: Vec<String>,
    /// Rules about sensitive links that do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sensitive_off: Vec<String>,
    /// Links that the sender leaves besides.
    #[serde(default, skip_serializing_if = "OwnRecipe::is_empty")]
    pub own: OwnRecipe,
    /// Put at the end of every copy, with a link of the recipient's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<FooterRecipe>,
    /// One a recipient, in the envelope's order.
    pub recipients: Vec<Portion>,
}

/// Links that a sender leaves besides those that the organisation does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OwnRecipe {
    /// `visible_urls = "leave"`
    pub leave_visible_urls: bool,
    /// As [`Recipe::excluded_hosts`].
    pub excluded_hosts: Vec<String>,
    /// As [`Recipe::leave_links`].
    pub leave_links: Vec<String>,
}

/// The footer of a mail's copies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FooterRecipe {
    /// Its text ([`Footer`]).
    pub text: String,
    /// Whose preference page it leads to.
    pub org: String,
}

/// One recipient's part of a recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Portion {
    /// Its index in history.
    pub index: u16,
    /// The index in the tokens of its copy. Recipients with the same one share the copy.
    pub copy_index: u16,
    /// `off`, `aggregate`, `individual`, as numbers 0 to 2.
    pub opens: u8,
    /// As `opens`.
    pub links: u8,
    /// Links in plain text.
    pub text_links: bool,
    /// Whose page the footer's link opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<PersonId>,
}

/// What freezing needs besides the plan.
pub struct Frozen<'a> {
    /// What organisation and sender say.
    pub rules: Rules<'a>,
    /// Where new links point.
    pub site: SiteId,
    /// The key that seals them.
    pub key_id: u8,
    /// Our `Received:` field.
    pub received: String,
    /// Distinct random numbers: one a recipient, then one a group.
    pub indexes: Vec<u16>,
    /// Who the recipients are to the organisation, in the plan's order.
    pub persons: &'a [PersonId],
}

fn hosts_of(rules: Rules<'_>, level: Level) -> Vec<String> {
    rules.excluded_hosts().filter(|(_, by)| *by == level).map(|(host, _)| host.to_owned()).collect()
}

fn links_of(rules: Rules<'_>, level: Level) -> Vec<String> {
    rules.leave_links().filter(|(_, by)| *by == level).map(|(link, _)| link.as_str().to_owned()).collect()
}

impl OwnRecipe {
    fn is_empty(&self) -> bool {
        *self == OwnRecipe::default()
    }

    fn rules(&self) -> OwnLinks {
        OwnLinks {
            visible_urls: visible_urls(self.leave_visible_urls),
            excluded_hosts: self.excluded_hosts.clone(),
            patterns: self.leave_links.iter().filter_map(|text| text.parse().ok()).collect(),
        }
    }
}

fn visible_urls(leave: bool) -> VisibleUrls {
    if leave { VisibleUrls::Leave } else { VisibleUrls::Track }
}

/// How many distinct random numbers [`Recipe::freeze`] takes.
pub fn indexes_needed(plan: &Plan) -> usize {
    plan.recipients.len() + plan.groups.len()
}

impl Recipe {
    /// Freezes a plan. A shared copy's tokens carry an index of nobody's, so that they betray no recipient.
    pub fn freeze(plan: &Plan, frozen: Frozen<'_>) -> Recipe {
        let own = frozen.indexes.get(..plan.recipients.len()).unwrap_or_default();
        let shared = frozen.indexes.get(plan.recipients.len()..).unwrap_or_default();
        let mut recipients: Vec<Portion> =
            plan.recipients.iter().zip(own).map(|(one, index)| Portion::new(*index, one.tracking)).collect();
        for (group, index) in plan.groups.iter().zip(shared).filter(|(group, _)| group.is_shared()) {
            for place in &group.recipients {
                if let Some(portion) = recipients.get_mut(*place) {
                    portion.copy_index = *index;
                }
            }
        }
        // Its link is one recipient's: where copies are shared there is nothing it could lead to.
        let (rules, org) = (frozen.rules, frozen.rules.org());
        let footer = org.privacy.footer.as_ref().filter(|_| !plan.too_many_to_split);
        let footer =
            footer.map(|footer| FooterRecipe { text: footer.as_str().to_owned(), org: org.name.as_str().to_owned() });
        if footer.is_some() {
            for (portion, person) in recipients.iter_mut().zip(frozen.persons) {
                portion.person = Some(*person);
            }
        }
        Recipe {
            tracked: footer.is_some() || plan.groups.iter().any(|group| Variant::from(group.tracking).is_on()),
            recorded: true,
            site: frozen.site.to_string(),
            key_id: frozen.key_id,
            received: frozen.received,
            leave_visible_urls: rules.visible_urls() == (VisibleUrls::Leave, Level::Org),
            leave_quotes: org.quotes == Quotes::Leave,
            excluded_hosts: hosts_of(rules, Level::Org),
            leave_links: links_of(rules, Level::Org),
            sensitive_off: org.sensitive_off.clone(),
            own: OwnRecipe {
                leave_visible_urls: rules.visible_urls() == (VisibleUrls::Leave, Level::User),
                excluded_hosts: hosts_of(rules, Level::User),
                leave_links: links_of(rules, Level::User),
            },
            footer,
            recipients,
        }
    }

    /// Positions that share octets, in order of their first.
    pub fn groups(&self, positions: &[usize]) -> Vec<Vec<usize>> {
        let mut groups: Vec<(u16, Vec<usize>)> = Vec::new();
        for (position, portion) in positions.iter().filter_map(|p| Some((*p, self.recipients.get(*p)?))) {
            // Untracked copies are all alike, whoever they are for.
            let key = match (self.tracked, &self.footer) {
                (false, _) => 0,
                (true, None) => portion.copy_index,
                // Each has a link of their own in the footer, whatever their pixel says.
                (true, Some(_)) => portion.index,
            };
            match groups.iter_mut().find(|(index, _)| *index == key) {
                Some((_, group)) => group.push(position),
                None => groups.push((key, vec![position])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    /// Of a recipe: the one whose copies are the mail as it came, and what would have been done otherwise, but for the footer.
    pub fn shadowed(self) -> (Recipe, Recipe) {
        let nothing = Tracking { opens: Mode::Off, links: Mode::Off, text_links: false };
        let untracked = |portion: &Portion| Portion { person: None, ..Portion::new(portion.index, nothing) };
        let as_it_came = Recipe {
            tracked: false,
            leave_quotes: true,
            footer: None,
            recipients: self.recipients.iter().map(untracked).collect(),
            ..self.clone()
        };
        let tracked = self.recipients.iter().any(|portion| Variant::from(portion.tracking()).is_on());
        (as_it_came, Recipe { tracked, footer: None, ..self })
    }

    fn variants(&self) -> Vec<Variant> {
        let mut seen = HashSet::new();
        self.recipients.iter().map(|portion| portion.tracking().into()).filter(|v| seen.insert(*v)).collect()
    }
}

impl Portion {
    fn new(index: u16, tracking: Tracking) -> Portion {
        let number = |mode| match mode {
            Mode::Off => 0,
            Mode::Aggregate => 1,
            Mode::Individual => 2,
        };
        let Tracking { opens, links, text_links } = tracking;
        Portion { index, copy_index: index, opens: number(opens), links: number(links), text_links, person: None }
    }

    /// What this recipient's copy carries. A number from nowhere reads as off.
    pub fn tracking(&self) -> Tracking {
        let mode = |number| match number {
            1 => Mode::Aggregate,
            2 => Mode::Individual,
            _ => Mode::Off,
        };
        Tracking { opens: mode(self.opens), links: mode(self.links), text_links: self.text_links }
    }
}

/// Renders copies. Cheap to share.
pub struct Composer {
    /// Every key and site.
    pub keyring: Arc<ArcSwap<Keyring>>,
    /// Overrides, for unwrapping quoted links.
    pub settings: Arc<dyn SettingsStore>,
    /// Of the rewriter.
    pub limits: Limits,
}

impl Composer {
    /// Reads a mail once. Processor time only: some 0.1 ms for 20 KB of HTML; call it on a blocking thread for large mails.
    pub fn prepare(&self, raw: &Bytes, recipe: &Recipe) -> Prepared {
        let keyring = self.keyring.load();
        let snapshot = self.settings.snapshot();
        let open = |url: &str| own_url(&keyring, &snapshot, url);
        let links = LinkRules {
            visible_urls: visible_urls(recipe.leave_visible_urls),
            excluded_hosts: recipe.excluded_hosts.clone(),
            patterns: recipe.leave_links.iter().filter_map(|text| text.parse().ok()).collect(),
            switched: Switched::without(&recipe.sensitive_off),
            own: recipe.own.rules(),
            list_urls: Vec::new(),
        };
        let wanted = if recipe.tracked { recipe.variants() } else { Vec::new() };
        let site_url = self.site_url(recipe);
        let frozen = recipe.footer.as_ref().filter(|_| recipe.tracked);
        let footer = frozen.and_then(|frozen| Some((frozen.text.parse::<Footer>().ok()?, frozen.org.len())));
        let footer = footer
            .as_ref()
            .map(|(footer, org_bytes)| FooterOptions { footer, payload_bytes: PERSON_BYTES + org_bytes });
        let options = rewrite::Options {
            wanted: wanted.into_iter().fold(Variant::NONE, either),
            links: &links,
            quotes: if recipe.leave_quotes { Quotes::Leave } else { Quotes::Unwrap },
            footer,
            site_url: &site_url,
            token_chars: &encoded_len,
            open: &open,
            received: recipe.received.as_bytes(),
            remove_fields: true,
            limits: self.limits,
        };
        rewrite::prepare(raw, &options)
    }

    /// Renders the copies of these groups of positions, in their order. Linear in what differs between them.
    pub fn render(&self, prepared: &Prepared, id: MessageId, recipe: &Recipe, groups: &[Vec<usize>]) -> Vec<Body> {
        let keyring = self.keyring.load();
        let sealer = site_id(recipe).and_then(|site| keyring.sealer(site, recipe.key_id));
        let Some(sealer) = sealer.filter(|_| recipe.tracked) else {
            let body = prepared.layout(Variant::NONE).render(|_| String::new());
            return vec![body.unwrap_or_else(|_| prepared.identity()); groups.len()];
        };
        let variants = recipe.variants();
        let layouts: Vec<_> = variants.iter().map(|variant| (*variant, prepared.layout(*variant))).collect();
        let one = |group: &Vec<usize>| {
            let portion = group.first().and_then(|position| recipe.recipients.get(*position))?;
            let variant = Variant::from(portion.tracking());
            let (_, layout) = layouts.iter().find(|(v, _)| *v == variant)?;
            layout
                .render(|slot| match slot.kind {
                    Kind::Preference => page_token(&sealer, id, portion, recipe.footer.as_ref()),
                    Kind::Pixel | Kind::Click => mint(&sealer, id, portion.copy_index, slot),
                })
                .ok()
        };
        groups.iter().map(|group| one(group).unwrap_or_else(|| prepared.identity())).collect()
    }

    fn site_url(&self, recipe: &Recipe) -> String {
        let keyring = self.keyring.load();
        site_id(recipe).and_then(|id| keyring.site(id)).map(|site| site.url.clone()).unwrap_or_default()
    }
}

impl Renderer for Composer {
    fn copies(&self, record: &Record, positions: &[usize]) -> Result<Copies, String> {
        let recipe: Recipe = serde_json::from_str(&record.recipe).map_err(|error| error.to_string())?;
        let prepared = self.prepare(&record.raw, &recipe);
        let groups = recipe.groups(positions);
        let bodies = self.render(&prepared, record.id, &recipe, &groups);
        let as_it_came = recipe.tracked.then(|| prepared.identity());
        Ok(Copies { groups: groups.into_iter().zip(bodies).collect(), as_it_came })
    }

    fn plain_recipe(&self, recipients: usize) -> String {
        let nothing = Tracking { opens: Mode::Off, links: Mode::Off, text_links: false };
        let recipe = Recipe {
            tracked: false,
            recorded: false,
            site: String::new(),
            key_id: 0,
            received: String::new(),
            leave_visible_urls: true,
            leave_quotes: true,
            excluded_hosts: Vec::new(),
            leave_links: Vec::new(),
            sensitive_off: Vec::new(),
            own: OwnRecipe::default(),
            footer: None,
            recipients: vec![Portion::new(0, nothing); recipients],
        };
        serde_json::to_string(&recipe).unwrap_or_default()
    }

    fn history_indexes(&self, record: &Record) -> Option<Vec<u16>> {
        let recipe: Recipe = serde_json::from_str(&record.recipe).ok()?;
        recipe.recorded.then(|| recipe.recipients.iter().map(|portion| portion.index).collect())
    }
}

fn mint(sealer: &Sealer<'_>, message: MessageId, recipient: u16, slot: &Slot) -> String {
    sealer.seal(slot.kind, TokenId { message, recipient, link: slot.link }, slot.payload.as_bytes())
}

/// The token of a recipient's own page; empty, which renders nothing, for a portion without a person.
fn page_token(sealer: &Sealer<'_>, message: MessageId, portion: &Portion, footer: Option<&FooterRecipe>) -> String {
    let Some((person, footer)) = portion.person.zip(footer) else { return String::new() };
    sealer.seal(Kind::Preference, TokenId { message, recipient: portion.index, link: 0 }, &person.payload(&footer.org))
}

/// What a URL is to us; a click leads where its override says, if there is one.
fn own_url(keyring: &Keyring, snapshot: &Snapshot, url: &str) -> Option<Own> {
    let own = keyring.open_url(url)?;
    Some(match own.kind {
        Kind::Pixel => Own::Pixel,
        Kind::Preference => Own::Preference,
        Kind::Click => Own::Click(match snapshot.overrides.get(&(own.opened.id.message, own.opened.id.link)) {
            Some(Override::Destination(destination)) => Some(destination.clone()),
            Some(Override::Withdrawn) => None,
            None => String::from_utf8(own.opened.payload).ok(),
        }),
    })
}

fn site_id(recipe: &Recipe) -> Option<SiteId> {
    recipe.site.parse().ok()
}

fn either(a: Variant, b: Variant) -> Variant {
    Variant { opens: a.opens || b.opens, links: a.links || b.links, text_links: a.text_links || b.text_links }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recipes wait in the spool across versions: one without the newer fields reads as having none of them.
    #[test]
    fn recipes_of_before_are_read() {
        let before = r#"{"tracked":true,"recorded":true,"site":"01010101","key_id":0,"received":"","leave_visible_urls":false,
            "leave_quotes":false,"excluded_hosts":[],"recipients":[{"index":1,"copy_index":2,"opens":2,"links":0,"text_links":false}]}"#;
        let recipe: Recipe = serde_json::from_str(before).unwrap();
        assert_eq!((recipe.footer.as_ref(), recipe.recipients[0].person), (None, None));
        assert_eq!(recipe.own, OwnRecipe::default());
        assert!(!serde_json::to_string(&recipe).unwrap().contains("own"), "and nothing of it is written");
        let own = OwnRecipe { leave_visible_urls: true, excluded_hosts: vec!["a.test".into()], ..OwnRecipe::default() };
        let with_own = Recipe { own, ..recipe.clone() };
        let written = serde_json::to_string(&with_own).unwrap();
        assert_eq!(serde_json::from_str::<Recipe>(&written).unwrap(), with_own);
        let footer = Some(FooterRecipe { text: "See [here]".to_owned(), org: "acme".to_owned() });
        let mut recipe = Recipe { footer, ..recipe };
        recipe.recipients[0].person = Some(PersonId([0xab; 16]));
        let written = serde_json::to_string(&recipe).unwrap();
        assert!(written.contains(&"ab".repeat(16)), "{written}");
        assert_eq!(serde_json::from_str::<Recipe>(&written).unwrap(), recipe);
    }
}
