//! What there is to tell of each thing: every value by its name. The patterns name every field, so that a new one does
//! not compile until it is told here.

use super::{Action, Field, VALUE_CHARS_MAX};
use crate::settings::access::{Access, Credential, Gift, Invitation, Purpose, SecondFactor};
use crate::settings::{Choice, Managed, Org, OrgName, Quotes, User, VisibleUrls};
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
            let before = snapshot.users.get(&user.login).map(of_user);
            compared(user.org.as_ref(), format!("user {}", user.login), before, Some(of_user(user)))
        }
        Change::RemoveUser(login) => {
            let before = snapshot.users.get(login);
            let org = before.and_then(|user| user.org.as_ref());
            compared(org, format!("user {login}"), before.map(of_user), None)
        }
        Change::PutOverride(message, link, replaced_by) => {
            let before = snapshot.overrides.get(&(*message, *link)).map(of_override);
            compared(None, format!("link {link} of message {message}"), before, Some(of_override(replaced_by)))
        }
        Change::RemoveOverride(message, link) => {
            let before = snapshot.overrides.get(&(*message, *link)).map(of_override);
            compared(None, format!("link {link} of message {message}"), before, None)
        }
        _ => told_of_access(snapshot, change),
    }
}

fn told_of_access(snapshot: &Snapshot, change: &Change) -> Option<Told> {
    let org_of = |login: &str| snapshot.users.get(login).and_then(|user| user.org.as_ref());
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
        Change::Note(note) => {
            let fields = vec![Field { name: "what".to_owned(), before: None, after: Some(short(&note.words)) }];
            Some(Told { org: note.org.clone(), subject: short(&note.subject), action: Action::Done, fields })
        }
        // That a credential was used is no change.
        Change::PutUse(..) => None,
        // Told above. They are named, so that a new kind of change does not compile until it is told.
        Change::PutOrg(_) | Change::RemoveOrg(_) | Change::PutUser(_) | Change::RemoveUser(_) => None,
        Change::PutOverride(..) | Change::RemoveOverride(..) => None,
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

fn yes(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

fn of_org(org: &Org) -> Vec<Fact> {
    let Org { name: _, domains, choice, managed, tracking_url, former_urls, .. } = org;
    let Org { visible_urls, quotes, excluded_hosts, rules_off, own_networks, .. } = org;
    let mut facts = of_choice(*choice);
    let networks: Vec<String> = own_networks.iter().map(ToString::to_string).collect();
    facts.extend([
        fact("domains", domains.join(", ")),
        fact("managed in config.toml", of_managed(*managed)),
        maybe("tracking_url", tracking_url.as_ref()),
        fact("former_urls", former_urls.join(", ")),
        fact("visible_urls", if *visible_urls == VisibleUrls::Track { "track" } else { "leave" }),
        fact("quotes", if *quotes == Quotes::Unwrap { "unwrap" } else { "leave" }),
        fact("excluded_hosts", excluded_hosts.join(", ")),
        fact("rules_off", rules_off.join(", ")),
        fact("own_networks", networks.join(", ")),
    ]);
    facts
}

fn of_choice(choice: Choice) -> Vec<Fact> {
    let Choice { opens, links, text_links } = choice;
    let on = |on| if on { "on" } else { "off" };
    vec![
        fact("opens", opens.map_or("follow", |mode| mode.as_str())),
        fact("links", links.map_or("follow", |mode| mode.as_str())),
        fact("text_links", text_links.map_or("follow", on)),
    ]
}

fn of_managed(managed: Managed) -> String {
    let Managed { org, opens, links, text_links } = managed;
    let all = [(org, "org"), (opens, "opens"), (links, "links"), (text_links, "text_links")];
    all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect::<Vec<_>>().join(", ")
}

fn of_user(user: &User) -> Vec<Fact> {
    let User { login: _, org, role, password_hash, addresses, choice } = user;
    let mut facts = vec![
        maybe("org", org.as_ref()),
        fact("role", role.as_str()),
        secret("password", password_hash),
        fact("addresses", addresses.join(", ")),
    ];
    facts.extend(of_choice(*choice));
    facts
}

fn of_override(replaced_by: &Override) -> Vec<Fact> {
    vec![match replaced_by {
        Override::Destination(url) => fact("leads to", url),
        Override::Withdrawn => fact("leads to", "nowhere: withdrawn"),
    }]
}

fn of_access(access: Access) -> Vec<Fact> {
    let Access { admins_see_messages, second_factor_required } = access;
    vec![
        fact("admins_see_messages", yes(admins_see_messages)),
        fact("second_factor_required", yes(second_factor_required)),
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
        Gift::Account { org: Some(org), role } => format!("an account of {org} as {}", role.as_str()),
        Gift::Account { org: None, role } => format!("an account as {}", role.as_str()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Mode, Role};
    use crate::store::audit::Note;
    use crate::store::format::tests::{org, user};
    use crate::store::settings::apply;
    use crate::token::MessageId;

    fn names(told: &Told) -> Vec<&str> {
        told.fields.iter().map(|field| field.name.as_str()).collect()
    }

    /// Every value of an organisation, one by one: each change is told, under its own name.
    #[test]
    fn every_value_of_an_organisation_is_told() {
        let mut snapshot = Snapshot::default();
        let before = org("acme");
        apply(&mut snapshot, &Change::PutOrg(before.clone()));
        let rows: Vec<(&str, Box<dyn Fn(&mut Org)>)> = vec![
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
        let rows: Vec<(&str, Box<dyn Fn(&mut User)>)> = vec![
            ("org", Box::new(|user| user.org = None)),
            ("role", Box::new(|user| user.role = Role::Sender)),
            ("password", Box::new(|user| user.password_hash = "another".into())),
            ("addresses", Box::new(|user| user.addresses.clear())),
            ("opens", Box::new(|user| user.choice.opens = Some(Mode::Off))),
            ("links", Box::new(|user| user.choice.links = None)),
            ("text_links", Box::new(|user| user.choice.text_links = Some(false))),
        ];
        assert_eq!(rows.len(), of_user(&before).len(), "a value without a row");
        for (name, turn) in rows {
            let mut after = before.clone();
            turn(&mut after);
            let told = told(&snapshot, &Change::PutUser(after)).unwrap();
            assert_eq!(names(&told), [name]);
            assert!(!format!("{told:?}").contains("argon2") && !format!("{told:?}").contains("another"), "{told:?}");
        }
        let gone = told(&snapshot, &Change::RemoveUser("ann".into())).unwrap();
        assert_eq!((gone.action, gone.org), (Action::Removed, before.org));
    }

    /// The other kinds of change: what the line says of each.
    #[test]
    fn every_kind_of_change_is_told() {
        use crate::store::format::access::tests::{credentials, factor, invitations};
        let mut snapshot = Snapshot::default();
        apply(&mut snapshot, &Change::PutUser(user("ann")));
        let acme: OrgName = "acme".parse().unwrap();
        let access = Access { admins_see_messages: true, second_factor_required: true };
        let fewer = SecondFactor { recovery: vec![[5; 32]], ..factor() };
        let [mail, api] = credentials();
        let [account, password] = invitations();
        let note = Note { org: None, subject: "keys".into(), words: "rotated".into() };
        let withdrawn = Override::Withdrawn;
        let rows: Vec<(Change, &str, Action, Vec<&str>)> = vec![
            (
                Change::PutAccess(acme.clone(), access),
                "access of acme",
                Action::Changed,
                vec!["admins_see_messages", "second_factor_required"],
            ),
            (
                Change::PutSecondFactor("ann".into(), factor()),
                "second factor of ann",
                Action::Added,
                vec!["app", "recovery codes left"],
            ),
            (
                Change::PutSecondFactor("ann".into(), fewer),
                "second factor of ann",
                Action::Changed,
                vec!["recovery codes left"],
            ),
            (
                Change::RemoveSecondFactor("ann".into()),
                "second factor of ann",
                Action::Removed,
                vec!["app", "recovery codes left"],
            ),
            (Change::PutCredential(mail.clone()), "app password Thunderbird of ann", Action::Added, vec!["opens"]),
            (
                Change::PutCredential(api),
                "API key Thunderbird of ann",
                Action::Added,
                vec!["begins with", "scopes", "expires"],
            ),
            (Change::RemoveCredential(mail.id()), "app password Thunderbird of ann", Action::Removed, vec!["opens"]),
            (
                Change::PutInvitation(account),
                "invitation 01010101010101010101010101010101",
                Action::Added,
                vec!["gives", "expires"],
            ),
            (
                Change::PutInvitation(password.clone()),
                "invitation 02020202020202020202020202020202",
                Action::Added,
                vec!["gives", "expires"],
            ),
            (
                Change::RemoveInvitation(password.id()),
                "invitation 02020202020202020202020202020202",
                Action::Removed,
                vec!["gives", "expires"],
            ),
            (
                Change::PutOverride(MessageId(1), 2, withdrawn),
                "link 2 of message 0000000000000001",
                Action::Added,
                vec!["leads to"],
            ),
            (
                Change::RemoveOverride(MessageId(1), 2),
                "link 2 of message 0000000000000001",
                Action::Removed,
                vec!["leads to"],
            ),
            (Change::PutOrg(org("beta")), "organisation beta", Action::Added, vec![]),
            (Change::RemoveOrg("beta".parse().unwrap()), "organisation beta", Action::Removed, vec![]),
            (Change::Note(note), "keys", Action::Done, vec!["what"]),
        ];
        for (change, subject, action, fields) in rows {
            let told = told(&snapshot, &change).unwrap_or_else(|| panic!("{change:?} is not told"));
            assert_eq!((told.subject.as_str(), told.action), (subject, action));
            if !fields.is_empty() {
                assert_eq!(names(&told), fields, "{subject}");
            }
            let text = format!("{told:?}");
            assert!(!text.contains("0707") && !text.contains("010203"), "a secret or its digest: {text}");
            apply(&mut snapshot, &change);
        }
        // a login's time step, and that a credential was used, are no changes
        apply(&mut snapshot, &Change::PutSecondFactor("ann".into(), factor()));
        let later = SecondFactor { last_step: 99, ..factor() };
        assert!(told(&snapshot, &Change::PutSecondFactor("ann".into(), later)).is_none());
        assert!(told(&snapshot, &Change::PutUse(mail.id(), 9)).is_none());
    }

    #[test]
    fn a_long_value_is_cut() {
        assert_eq!(short(&"ü".repeat(VALUE_CHARS_MAX)).chars().count(), VALUE_CHARS_MAX);
        let cut = short(&"ü".repeat(VALUE_CHARS_MAX + 1));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (VALUE_CHARS_MAX + 1, true));
    }
}
