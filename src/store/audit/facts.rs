//! What there is to tell of each thing: every value by its name. The patterns name every field, so that a new one does
//! not compile until it is told here.

use super::{Action, Field, LEADS_TO, VALUE_CHARS_MAX};
use crate::settings::access::{Access, Credential, Gift, Invitation, Purpose, SecondFactor};
use crate::settings::notices::{NoticeCeiling, NoticeChoice, Webhook};
use crate::settings::privacy::{Consent, Footer, OrgPrivacy};
use crate::settings::{
    Choice, Keeping, LinkPattern, Mode, Org, OrgName, OwnRules, Quotes, RecipientPattern, Role, User,
};
use crate::store::{Change, Override, Snapshot};

/// What a change does, in words.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) org: Option<OrgName>,
    pub(super) subject: String,
    pub(super) action: Action,
    pub(super) fields: Vec<Field>,
}

/// A value. A secret one is compared and never shown.
struct Fact {
    name: &'static str,
    value: String,
    secret: bool,
}

/// Whose admins read of a user: server admins are managed, and known, by server admins alone.
fn whose(user: &User) -> Option<&OrgName> {
    user.org.as_ref().filter(|_| user.role != Role::ServerAdmin)
}

/// What the change does to this snapshot; `None` when nothing that is told.
pub(super) fn told(snapshot: &Snapshot, change: &Change) -> Option<Told> {
    match change {
        Change::PutOrg(org) => {
            let before = snapshot.orgs.get(&org.name).map(of_org);
            compared(Some(&org.name), format!("organisation {}", org.name), before, Some(of_org(org)))
        }
        Change::RemoveOrg(name) => {
            compared(Some(name), format!("organisation {name}"), snapshot.orgs.get(name).map(of_org), None)
        }
        Change::PutUser(user) => {
            let before = snapshot.users.get(&user.login);
            let org = whose(before.unwrap_or(user));
            compared(org, format!("user {}", user.login), before.map(of_user), Some(of_user(user)))
        }
        Change::RemoveUser(login) => {
            let before = snapshot.users.get(login);
            compared(before.and_then(whose), format!("user {login}"), before.map(of_user), None)
        }
        Change::PutOverride(message, link, replaced_by) => {
            let before = snapshot.overrides.get(&(*message, *link)).map(of_override);
            compared(None, format!("link {link} of message {message}"), before, Some(of_override(replaced_by)))
        }
        Change::RemoveOverride(message, link) => {
            let before = snapshot.overrides.get(&(*message, *link)).map(of_override);
            compared(None, format!("link {link} of message {message}"), before, None)
        }
        _ => told_of_telling(snapshot, change),
    }
}

fn told_of_telling(snapshot: &Snapshot, change: &Change) -> Option<Told> {
    let org_of = |login: &str| snapshot.users.get(login).and_then(whose);
    match change {
        Change::PutWebhook(webhook) => {
            let before = snapshot.webhooks.get(&webhook.id).map(of_webhook);
            compared(Some(&webhook.org), format!("webhook {}", webhook.id), before, Some(of_webhook(webhook)))
        }
        Change::RemoveWebhook(id) => {
            let before = snapshot.webhooks.get(id)?;
            compared(Some(&before.org), format!("webhook {id}"), Some(of_webhook(before)), None)
        }
        Change::PutNotices(login, choice) => {
            let before = snapshot.notices.get(login).copied().unwrap_or_default();
            compared(org_of(login), format!("notices of {login}"), Some(of_notices(before)), Some(of_notices(*choice)))
        }
        Change::RemoveNotices(login) => {
            let before = snapshot.notices.get(login).copied().map(of_notices);
            compared(org_of(login), format!("notices of {login}"), before, None)
        }
        Change::PutNoticeCeiling(org, ceiling) => {
            let before = snapshot.notice_ceilings.get(org).copied().unwrap_or_default();
            compared(Some(org), format!("notices in {org}"), Some(of_ceiling(before)), Some(of_ceiling(*ceiling)))
        }
        Change::Note(note) => {
            let fields = vec![Field { name: "what".to_owned(), before: None, after: Some(short(&note.words)) }];
            Some(Told { org: note.org.clone(), subject: short(&note.subject), action: Action::Done, fields })
        }
        // What a recipient says stands in their own ledger; who notes it for them leaves a note besides.
        Change::PutStanding(..) | Change::AddEntry(..) => None,
        // Told as what it comes to.
        Change::PauseWebhook { .. } => None,
        _ => told_of_ways_in(snapshot, change),
    }
}

fn told_of_ways_in(snapshot: &Snapshot, change: &Change) -> Option<Told> {
    let org_of = |login: &str| snapshot.users.get(login).and_then(whose);
    match change {
        Change::PutAccess(org, access) => {
            let before = snapshot.access.get(org).copied().unwrap_or_default();
            compared(Some(org), format!("access of {org}"), Some(of_access(before)), Some(of_access(*access)))
        }
        Change::PutSecondFactor(login, factor) => {
            let before = snapshot.second_factors.get(login).map(of_factor);
            compared(org_of(login), format!("second factor of {login}"), before, Some(of_factor(factor)))
        }
        Change::RemoveSecondFactor(login) => {
            let before = snapshot.second_factors.get(login).map(of_factor);
            compared(org_of(login), format!("second factor of {login}"), before, None)
        }
        Change::PutCredential(credential) => {
            let before = snapshot.credentials.get(&credential.id()).map(of_credential);
            let subject = credential_named(credential);
            compared(org_of(&credential.login), subject, before, Some(of_credential(credential)))
        }
        Change::RemoveCredential(id) => {
            let before = snapshot.credentials.get(id)?;
            compared(org_of(&before.login), credential_named(before), Some(of_credential(before)), None)
        }
        Change::PutInvitation(invitation) => {
            let before = snapshot.invitations.get(&invitation.id()).map(of_invitation);
            let subject = format!("invitation {}", invitation.id());
            compared(invited_to(snapshot, invitation), subject, before, Some(of_invitation(invitation)))
        }
        Change::RemoveInvitation(id) => {
            let before = snapshot.invitations.get(id)?;
            let org = invited_to(snapshot, before);
            compared(org, format!("invitation {id}"), Some(of_invitation(before)), None)
        }
        Change::PutUpstreamPassword(org, sealed) => {
            let before = snapshot.upstream_passwords.get(org).map(|sealed| of_upstream_password(sealed));
            compared(Some(org), format!("upstream of {org}"), before, Some(of_upstream_password(sealed)))
        }
        Change::RemoveUpstreamPassword(org) => {
            let before = snapshot.upstream_passwords.get(org).map(|sealed| of_upstream_password(sealed));
            compared(Some(org), format!("upstream of {org}"), before, None)
        }
        // That a credential was used is no change.
        Change::PutUse(..) => None,
        // Told above. They are named, so that a new kind of change does not compile until it is told.
        Change::PutOrg(_) | Change::RemoveOrg(_) | Change::PutUser(_) | Change::RemoveUser(_) => None,
        Change::PutOverride(..) | Change::RemoveOverride(..) | Change::PutStanding(..) | Change::AddEntry(..) => None,
        Change::PutWebhook(_) | Change::RemoveWebhook(_) | Change::PutNotices(..) | Change::RemoveNotices(_) => None,
        Change::PutNoticeCeiling(..) | Change::Note(_) | Change::PauseWebhook { .. } => None,
    }
}

fn compared(
    org: Option<&OrgName>,
    subject: String,
    before: Option<Vec<Fact>>,
    after: Option<Vec<Fact>>,
) -> Option<Told> {
    let action = match (&before, &after) {
        (None, Some(_)) => Action::Added,
        (Some(_), Some(_)) => Action::Changed,
        (Some(_), None) => Action::Removed,
        (None, None) => return None,
    };
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let find = |facts: &[Fact], name| facts.iter().find(|fact| fact.name == name).map(|fact| fact.value.clone());
    let names = after.iter().chain(before.iter().filter(|old| after.iter().all(|new| new.name != old.name)));
    let mut fields = Vec::new();
    for fact in names {
        let (was, is) = (find(&before, fact.name), find(&after, fact.name));
        if was.as_deref().unwrap_or_default() != is.as_deref().unwrap_or_default() {
            fields.push(shown(fact, was, is));
        }
    }
    (action != Action::Changed || !fields.is_empty()).then_some(Told {
        org: org.cloned(),
        subject: short(&subject),
        action,
        fields,
    })
}

fn shown(fact: &Fact, before: Option<String>, after: Option<String>) -> Field {
    let show = |value: String| match (value.is_empty(), fact.secret) {
        (true, _) => None,
        (false, true) => Some("(secret)".to_owned()),
        (false, false) => Some(short(&value)),
    };
    Field { name: fact.name.to_owned(), before: before.and_then(show), after: after.and_then(show) }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn fact(name: &'static str, value: impl ToString) -> Fact {
    Fact { name, value: value.to_string(), secret: false }
}

fn secret(name: &'static str, value: impl ToString) -> Fact {
    Fact { name, value: value.to_string(), secret: true }
}

fn maybe(name: &'static str, value: Option<impl ToString>) -> Fact {
    fact(name, value.map(|value| value.to_string()).unwrap_or_default())
}

fn of_org(org: &Org) -> Vec<Fact> {
    let Org { name: _, domains, choice, managed, tracking_url, former_urls, visible_urls, .. } = org;
    let Org { quotes, excluded_hosts, rules_off, own_networks, privacy, keeping, locked, shadow, .. } = org;
    let Org { excluded_recipients, sensitive_off, leave_links, .. } = org;
    let networks: Vec<String> = own_networks.iter().map(ToString::to_string).collect();
    let mut facts = of_choice(*choice);
    facts.extend([
        fact("domains", domains.join(", ")),
        fact("managed in config.toml", managed.names().join(", ")),
        maybe("tracking_url", tracking_url.as_ref()),
        fact("former_urls", former_urls.join(", ")),
        fact("visible_urls", visible_urls.as_str()),
        fact("quotes", if *quotes == Quotes::Unwrap { "unwrap" } else { "leave" }),
        fact("excluded_hosts", excluded_hosts.join(", ")),
        fact("rules_off", rules_off.join(", ")),
        fact("own_networks", networks.join(", ")),
    ]);
    facts.extend(of_privacy(privacy));
    facts.extend(of_keeping(*keeping));
    let recipients: Vec<&str> = excluded_recipients.iter().map(RecipientPattern::as_str).collect();
    let links: Vec<&str> = leave_links.iter().map(LinkPattern::as_str).collect();
    facts.extend([
        fact("locked", locked.names().join(", ")),
        fact("shadow", on(*shadow)),
        fact("excluded_recipients", recipients.join(", ")),
        fact("sensitive_off", sensitive_off.join(", ")),
        fact("leave_links", links.join(", ")),
    ]);
    facts
}

fn of_privacy(privacy: &OrgPrivacy) -> [Fact; 5] {
    let OrgPrivacy { shown_name, page_text, consent, without_consent, footer } = privacy;
    [
        maybe("shown_name", shown_name.as_ref()),
        maybe("page_text", page_text.as_ref()),
        fact("consent", consent.map_or("follow", Consent::as_str)),
        fact("without_consent", without_consent.map_or("follow", Mode::as_str)),
        maybe("footer", footer.as_ref().map(Footer::as_str)),
    ]
}

fn of_keeping(keeping: Keeping) -> [Fact; 5] {
    let Keeping { place, raw_evidence, honour_gpc, events_days, messages_days } = keeping;
    let days = |days: Option<u32>| days.map_or("as the server's".to_owned(), |days| days.to_string());
    [
        fact("place", place),
        fact("raw_evidence", on(raw_evidence)),
        fact("honour_gpc", on(honour_gpc)),
        fact("events_days", days(events_days)),
        fact("messages_days", days(messages_days)),
    ]
}

fn of_choice(choice: Choice) -> Vec<Fact> {
    let Choice { opens, links, text_links } = choice;
    vec![
        fact("opens", opens.map_or("follow", |mode| mode.as_str())),
        fact("links", links.map_or("follow", |mode| mode.as_str())),
        fact("text_links", text_links.map_or("follow", on)),
    ]
}

fn of_user(user: &User) -> Vec<Fact> {
    let User { login: _, org, role, password_hash, addresses, choice, shadow, own, one_time } = user;
    let mut facts = vec![
        maybe("org", org.as_ref()),
        fact("role", role.as_str()),
        secret("password", password_hash),
        fact("addresses", addresses.join(", ")),
    ];
    facts.extend(of_choice(*choice));
    facts.push(fact("shadow", on(*shadow)));
    facts.extend(of_own(own));
    facts.push(fact("one-time password", on(*one_time)));
    facts
}

/// Whom a sender excludes tells whom they write to, which an admin who reads this log may not know: that the list changed
/// is told, and nobody in it.
fn of_own(own: &OwnRules) -> [Fact; 6] {
    let OwnRules { leave_visible_urls, country_only, no_raw_evidence, .. } = own;
    let OwnRules { excluded_recipients, excluded_hosts, leave_links, .. } = own;
    let recipients: Vec<&str> = excluded_recipients.iter().map(RecipientPattern::as_str).collect();
    let links: Vec<&str> = leave_links.iter().map(LinkPattern::as_str).collect();
    let narrowed = |is_so: bool, to: &'static str| if is_so { to } else { "follow" };
    [
        fact("visible_urls", narrowed(*leave_visible_urls, "leave")),
        fact("place", narrowed(*country_only, "country")),
        fact("raw_evidence", narrowed(*no_raw_evidence, "off")),
        secret("excluded_recipients", recipients.join(", ")),
        fact("excluded_hosts", excluded_hosts.join(", ")),
        fact("leave_links", links.join(", ")),
    ]
}

fn of_override(replaced_by: &Override) -> Vec<Fact> {
    vec![match replaced_by {
        Override::Destination(url) => fact(LEADS_TO, url),
        Override::Withdrawn => fact(LEADS_TO, "nowhere: withdrawn"),
    }]
}

/// The address may hold a secret of its own (many receivers know their callers by it), so it is shown to its host alone.
fn of_webhook(webhook: &Webhook) -> Vec<Fact> {
    let Webhook { id: _, org: _, login, url, topics, level, words, paused, sealed_secret, created_at_ms: _ } = webhook;
    let topics: Vec<&str> = topics.iter().map(|topic| topic.as_str()).collect();
    let sealed: String = sealed_secret.iter().map(|octet| format!("{octet:02x}")).collect();
    vec![
        maybe("only mail of", login.as_ref()),
        fact("host", host_of(url)),
        secret("url", url),
        fact("topics", topics.join(", ")),
        fact("level", level.as_str()),
        fact("recipients and subjects", on(*words)),
        fact("paused", if *paused { "yes" } else { "no" }),
        secret("secret", sealed),
    ]
}

fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    authority.rsplit('@').next().unwrap_or_default()
}

fn of_access(access: Access) -> Vec<Fact> {
    let Access { admins_see_messages, second_factor_required } = access;
    vec![
        fact("admins_see_messages", on(admins_see_messages)),
        fact("second_factor", if second_factor_required { "required" } else { "optional" }),
    ]
}

/// The last code's time step is no setting.
fn of_factor(factor: &SecondFactor) -> Vec<Fact> {
    let SecondFactor { sealed_secret, last_step: _, recovery, since_ms: _ } = factor;
    let text = |octets: &[u8]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    vec![secret("app", text(sealed_secret)), fact("recovery codes left", recovery.len())]
}

fn credential_named(credential: &Credential) -> String {
    let kind = if credential.purpose == Purpose::Mail { "app password" } else { "API key" };
    format!("{kind} {} of {}", credential.name, credential.login)
}

fn of_credential(credential: &Credential) -> Vec<Fact> {
    let Credential { login: _, name: _, purpose, digest: _, created_at_ms: _ } = credential;
    match purpose {
        Purpose::Mail => vec![fact("opens", "mail")],
        Purpose::Api { shown, scopes, expires_at_ms } => {
            let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
            vec![
                fact("begins with", shown),
                fact("scopes", scopes.join(", ")),
                fact("expires", expires_at_ms.map_or("never".to_owned(), at)),
            ]
        }
    }
}

fn of_invitation(invitation: &Invitation) -> Vec<Fact> {
    let Invitation { digest: _, gives, by: _, expires_at_ms } = invitation;
    let gives = match gives {
        Gift::Account { login, org: Some(org), role } => {
            format!("the account {login} in {org} as {}", role.as_str())
        }
        Gift::Account { login, org: None, role } => format!("the account {login} as {}", role.as_str()),
        Gift::Password { login } => format!("a new password for {login}"),
    };
    vec![fact("gives", gives), fact("expires", at(*expires_at_ms))]
}

fn invited_to<'a>(snapshot: &'a Snapshot, invitation: &'a Invitation) -> Option<&'a OrgName> {
    match &invitation.gives {
        Gift::Account { org, .. } => org.as_ref(),
        Gift::Password { login } => snapshot.users.get(login).and_then(|user| user.org.as_ref()),
    }
}

fn at(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map(|at| at.strftime("%Y-%m-%dT%H:%MZ").to_string()).unwrap_or_default()
}

fn of_notices(choice: NoticeChoice) -> Vec<Fact> {
    let NoticeChoice { level, mail } = choice;
    vec![fact("level", level.as_str()), fact("by mail", on(mail))]
}

/// Sealed anew it is another text, even where it is the same password: that somebody typed one is told.
fn of_upstream_password(sealed: &[u8]) -> Vec<Fact> {
    vec![secret("password", format!("{sealed:?}"))]
}

fn of_ceiling(ceiling: NoticeCeiling) -> Vec<Fact> {
    let NoticeCeiling { level, mail } = ceiling;
    vec![fact("at most", level.as_str()), fact("by mail", if mail { "allowed" } else { "not allowed" })]
}

fn on(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::notices::{Level, Topic};
    use crate::settings::privacy::FOOTER_DEFAULT;
    use crate::settings::{Locked, PlaceDetail, Role, VisibleUrls};
    use crate::store::audit::Note;
    use crate::store::format::notices::tests::webhook;
    use crate::store::format::tests::{org, user};
    use crate::store::settings::apply;
    use crate::token::MessageId;

    /// Makes one value another.
    type Turn<T> = Box<dyn Fn(&mut T)>;

    fn names(told: &Told) -> Vec<&str> {
        told.fields.iter().map(|field| field.name.as_str()).collect()
    }

    /// Every value of an organisation, one by one: each change is told, under its own name.
    #[test]
    fn every_value_of_an_organisation_is_told() {
        let mut snapshot = Snapshot::default();
        let before = org("acme");
        apply(&mut snapshot, &Change::PutOrg(before.clone()));
        let rows: Vec<(&str, Turn<Org>)> = vec![
            ("opens", Box::new(|org| org.choice.opens = None)),
            ("links", Box::new(|org| org.choice.links = Some(Mode::Individual))),
            ("text_links", Box::new(|org| org.choice.text_links = Some(true))),
            ("domains", Box::new(|org| org.domains.clear())),
            ("managed in config.toml", Box::new(|org| org.managed.opens = true)),
            ("tracking_url", Box::new(|org| org.tracking_url = None)),
            ("former_urls", Box::new(|org| org.former_urls.clear())),
            ("visible_urls", Box::new(|org| org.visible_urls = VisibleUrls::Track)),
            ("quotes", Box::new(|org| org.quotes = Quotes::Unwrap)),
            ("excluded_hosts", Box::new(|org| org.excluded_hosts.push("x.example".into()))),
            ("rules_off", Box::new(|org| org.rules_off.clear())),
            ("own_networks", Box::new(|org| org.own_networks.clear())),
            ("shown_name", Box::new(|org| org.privacy.shown_name = Some("Another".into()))),
            ("page_text", Box::new(|org| org.privacy.page_text = Some("Another".into()))),
            ("consent", Box::new(|org| org.privacy.consent = None)),
            ("without_consent", Box::new(|org| org.privacy.without_consent = None)),
            ("footer", Box::new(|org| org.privacy.footer = FOOTER_DEFAULT.parse().ok())),
            ("place", Box::new(|org| org.keeping.place = PlaceDetail::City)),
            ("raw_evidence", Box::new(|org| org.keeping.raw_evidence ^= true)),
            ("honour_gpc", Box::new(|org| org.keeping.honour_gpc ^= true)),
            ("events_days", Box::new(|org| org.keeping.events_days = Some(3))),
            ("messages_days", Box::new(|org| org.keeping.messages_days = Some(3))),
            ("locked", Box::new(|org| org.locked = Locked::default())),
            ("shadow", Box::new(|org| org.shadow ^= true)),
            ("excluded_recipients", Box::new(|org| org.excluded_recipients.clear())),
            ("sensitive_off", Box::new(|org| org.sensitive_off.clear())),
            ("leave_links", Box::new(|org| org.leave_links.clear())),
        ];
        assert_eq!(rows.len(), of_org(&before).len(), "a value without a row");
        for (name, turn) in rows {
            let mut after = before.clone();
            turn(&mut after);
            let told = told(&snapshot, &Change::PutOrg(after)).unwrap();
            assert_eq!((names(&told), told.action), (vec![name], Action::Changed));
            assert_ne!(told.fields[0].before, told.fields[0].after);
        }
        assert!(told(&snapshot, &Change::PutOrg(before)).is_none(), "no change, no line");
    }

    #[test]
    fn every_value_of_a_user_is_told_and_the_password_is_not_shown() {
        let mut snapshot = Snapshot::default();
        let before = user("ann");
        apply(&mut snapshot, &Change::PutUser(before.clone()));
        let rows: Vec<(&str, Turn<User>)> = vec![
            ("org", Box::new(|user| user.org = None)),
            ("role", Box::new(|user| user.role = Role::Sender)),
            ("password", Box::new(|user| user.password_hash = "another".into())),
            ("addresses", Box::new(|user| user.addresses.clear())),
            ("opens", Box::new(|user| user.choice.opens = Some(Mode::Off))),
            ("links", Box::new(|user| user.choice.links = None)),
            ("text_links", Box::new(|user| user.choice.text_links = Some(false))),
            ("shadow", Box::new(|user| user.shadow ^= true)),
            ("visible_urls", Box::new(|user| user.own.leave_visible_urls ^= true)),
            ("place", Box::new(|user| user.own.country_only ^= true)),
            ("raw_evidence", Box::new(|user| user.own.no_raw_evidence ^= true)),
            ("excluded_recipients", Box::new(|user| user.own.excluded_recipients.clear())),
            ("excluded_hosts", Box::new(|user| user.own.excluded_hosts.clear())),
            ("leave_links", Box::new(|user| user.own.leave_links.clear())),
            ("one-time password", Box::new(|user| user.one_time ^= true)),
        ];
        assert_eq!(rows.len(), of_user(&before).len(), "a value without a row");
        for (name, turn) in rows {
            let mut after = before.clone();
            turn(&mut after);
            let told = told(&snapshot, &Change::PutUser(after)).unwrap();
            assert_eq!(names(&told), [name]);
            let text = format!("{told:?}");
            assert!(!["argon2", "another", "cy@reader"].iter().any(|secret| text.contains(secret)), "{text}");
        }
        let gone = told(&snapshot, &Change::RemoveUser("ann".into())).unwrap();
        assert_eq!((gone.action, gone.org), (Action::Removed, before.org));
    }

    /// Every value of a webhook; neither its secret nor the path of its address, which is one too, is shown.
    #[test]
    fn every_value_of_a_webhook_is_told_and_no_secret_is_shown() {
        let before = Webhook { url: "https://user:letmein@hooks.example:8443/services/T0KEN?k=1".into(), ..webhook(7) };
        let mut snapshot = Snapshot::default();
        let added = told(&snapshot, &Change::PutWebhook(before.clone())).unwrap();
        assert_eq!((added.subject.as_str(), added.action), ("webhook 0000000000000007", Action::Added));
        assert_eq!(added.fields[1].after.as_deref(), Some("hooks.example:8443"));
        apply(&mut snapshot, &Change::PutWebhook(before.clone()));
        let rows: Vec<(&str, Turn<Webhook>)> = vec![
            ("only mail of", Box::new(|webhook| webhook.login = None)),
            ("host, url", Box::new(|webhook| webhook.url = "https://hooks.example/T0KEN".into())),
            ("url", Box::new(|webhook| webhook.url.push('2'))),
            ("topics", Box::new(|webhook| webhook.topics = vec![Topic::Opened])),
            ("level", Box::new(|webhook| webhook.level = Level::None)),
            ("recipients and subjects", Box::new(|webhook| webhook.words ^= true)),
            ("paused", Box::new(|webhook| webhook.paused ^= true)),
            ("secret", Box::new(|webhook| webhook.sealed_secret = vec![0xbe, 0xef])),
        ];
        assert_eq!(rows.len(), of_webhook(&before).len(), "a value without a row");
        for (name, turn) in rows {
            let mut after = before.clone();
            turn(&mut after);
            let told = told(&snapshot, &Change::PutWebhook(after)).unwrap();
            assert_eq!((names(&told).join(", ").as_str(), told.action), (name, Action::Changed));
            let text = format!("{told:?}{added:?}");
            assert!(!["letmein", "T0KEN", "beef", "0102ff"].iter().any(|secret| text.contains(secret)), "{text}");
        }
    }

    /// The other kinds of change: what the line says of each.
    #[test]
    fn every_kind_of_change_is_told() {
        let mut snapshot = Snapshot::default();
        apply(&mut snapshot, &Change::PutUser(user("ann")));
        apply(&mut snapshot, &Change::PutWebhook(webhook(7)));
        let acme: OrgName = "acme".parse().unwrap();
        let note = Note { org: None, subject: "keys".into(), words: "rotated".into() };
        let every = NoticeChoice { level: Level::Every, mail: true };
        let link = "link 2 of message 0000000000000001";
        let rows: Vec<(Change, &str, Action, &[&str])> = vec![
            (Change::PutOverride(MessageId(1), 2, Override::Withdrawn), link, Action::Added, &["leads to"]),
            (Change::RemoveOverride(MessageId(1), 2), link, Action::Removed, &["leads to"]),
            (Change::PutOrg(org("beta")), "organisation beta", Action::Added, &[]),
            (Change::RemoveOrg("beta".parse().unwrap()), "organisation beta", Action::Removed, &[]),
            (Change::PutNotices("ann".into(), every), "notices of ann", Action::Changed, &["level", "by mail"]),
            (Change::RemoveNotices("ann".into()), "notices of ann", Action::Removed, &["level", "by mail"]),
            (
                Change::PutNoticeCeiling(acme, NoticeCeiling { level: Level::None, mail: false }),
                "notices in acme",
                Action::Changed,
                &["at most", "by mail"],
            ),
            (Change::RemoveWebhook(webhook(7).id), "webhook 0000000000000007", Action::Removed, &[]),
            (Change::Note(note), "keys", Action::Done, &["what"]),
        ];
        for (change, subject, action, fields) in rows {
            let told = told(&snapshot, &change).unwrap_or_else(|| panic!("{change:?} is not told"));
            assert_eq!((told.subject.as_str(), told.action), (subject, action));
            if !fields.is_empty() {
                assert_eq!(names(&told), fields, "{subject}");
            }
            apply(&mut snapshot, &change);
        }
        // what is no change leaves no line
        assert!(told(&snapshot, &Change::RemoveNotices("ann".into())).is_none());
        assert!(told(&snapshot, &Change::PutUser(user("ann"))).is_none());
    }

    /// Ways in: what the line says of each, and that it never says enough to get in.
    #[test]
    fn every_way_in_is_told_and_no_secret_is_shown() {
        use crate::store::format::access::tests::{credentials, factor, invitations};
        let mut snapshot = Snapshot::default();
        apply(&mut snapshot, &Change::PutUser(user("ann")));
        let access = Access { admins_see_messages: true, second_factor_required: true };
        let fewer = SecondFactor { recovery: vec![[5; 32]], ..factor() };
        let [mail, api] = credentials();
        let [account, password] = invitations();
        let (first, second) =
            ("invitation 01010101010101010101010101010101", "invitation 02020202020202020202020202020202");
        let of_ann = "second factor of ann";
        let app = "app password Thunderbird of ann";
        let ann = || "ann".to_owned();
        let acme = || -> OrgName { "acme".parse().unwrap() };
        let rows: Vec<(Change, &str, Action, &[&str])> = vec![
            (
                Change::PutAccess("acme".parse().unwrap(), access),
                "access of acme",
                Action::Changed,
                &["admins_see_messages", "second_factor"],
            ),
            (Change::PutSecondFactor(ann(), factor()), of_ann, Action::Added, &["app", "recovery codes left"]),
            (Change::PutSecondFactor(ann(), fewer), of_ann, Action::Changed, &["recovery codes left"]),
            (Change::RemoveSecondFactor(ann()), of_ann, Action::Removed, &["app", "recovery codes left"]),
            (Change::PutCredential(mail.clone()), app, Action::Added, &["opens"]),
            (
                Change::PutCredential(api),
                "API key Thunderbird of ann",
                Action::Added,
                &["begins with", "scopes", "expires"],
            ),
            (Change::RemoveCredential(mail.id()), app, Action::Removed, &["opens"]),
            (Change::PutInvitation(account), first, Action::Added, &["gives", "expires"]),
            (Change::PutInvitation(password.clone()), second, Action::Added, &["gives", "expires"]),
            (Change::RemoveInvitation(password.id()), second, Action::Removed, &["gives", "expires"]),
            (Change::PutUpstreamPassword(acme(), vec![7, 7]), "upstream of acme", Action::Added, &["password"]),
            (Change::PutUpstreamPassword(acme(), vec![7, 8]), "upstream of acme", Action::Changed, &["password"]),
            (Change::RemoveUpstreamPassword(acme()), "upstream of acme", Action::Removed, &["password"]),
        ];
        for (change, subject, action, fields) in rows {
            let told = told(&snapshot, &change).unwrap_or_else(|| panic!("{change:?} is not told"));
            assert_eq!((told.subject.as_str(), told.action), (subject, action));
            assert_eq!(names(&told), fields, "{subject}");
            let text = format!("{told:?}");
            let digests = ["0707", "010203", "7, 7", "7, 8"];
            assert!(!digests.iter().any(|digest| text.contains(digest)), "a secret or its digest: {text}");
            apply(&mut snapshot, &change);
        }
        // a login's time step, and that a credential was used, are no changes
        apply(&mut snapshot, &Change::PutSecondFactor(ann(), factor()));
        let later = SecondFactor { last_step: 99, ..factor() };
        assert!(told(&snapshot, &Change::PutSecondFactor(ann(), later)).is_none());
        assert!(told(&snapshot, &Change::PutUse(mail.id(), 9)).is_none());
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(short(&"ü".repeat(VALUE_CHARS_MAX)).chars().count(), VALUE_CHARS_MAX);
        let cut = short(&"ü".repeat(VALUE_CHARS_MAX + 1));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (VALUE_CHARS_MAX + 1, true));
    }
}
