//! Who asks, and what they may see (DESIGN 4.5, 8). Every action takes a [`Viewer`]; no page decides for itself.
//!
//! **Invariant:** what a viewer may not see does not exist for them: another organisation's thing and a thing that is
//! not there get the same answer.

use std::collections::BTreeSet;

use super::Refusal;
use crate::settings::access::Scope;
use crate::settings::{OrgName, Role, User};
use crate::store::audit::{Author, Via};

/// On whose behalf something is read or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Viewer {
    /// The owner of the machine, over the admin socket: sees and may do everything.
    Operator,
    /// A logged-in person.
    Person(Person),
}

/// A logged-in person as of this request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The login.
    pub login: String,
    /// Where it belongs; `None` only for a server admin.
    pub org: Option<OrgName>,
    /// What it may do.
    pub role: Role,
    /// How the audit log names it.
    pub author: Author,
    /// What the API key it came with may do; `None`: it logged in itself.
    pub scopes: Option<BTreeSet<Scope>>,
    /// Their organisation lets its admins see everybody's mail (`admins_see_messages`).
    pub sees_messages: bool,
}

/// How much of one mail a viewer sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// Everything.
    Whole,
    /// That it exists, when, from which login, and its counts; no subject, no recipient, no link.
    Counts,
    /// Nothing, not even that it exists.
    Nothing,
}

impl Viewer {
    /// A user who came this way. The author's login is the user's.
    pub fn of(user: &User, author: Author) -> Viewer {
        Viewer::Person(Person {
            login: user.login.clone(),
            org: user.org.clone(),
            role: user.role,
            author: Author { login: Some(user.login.clone()), ..author },
            scopes: None,
            sees_messages: false,
        })
    }

    /// The same, whose organisation lets its admins see everybody's mail, or does not.
    #[must_use]
    pub fn seeing_messages(self, sees_messages: bool) -> Viewer {
        match self {
            Viewer::Operator => Viewer::Operator,
            Viewer::Person(person) => Viewer::Person(Person { sees_messages, ..person }),
        }
    }

    /// The same, who came with an API key that may do this.
    #[must_use]
    pub fn with_key(self, scopes: BTreeSet<Scope>) -> Viewer {
        match self {
            Viewer::Operator => Viewer::Operator,
            Viewer::Person(person) => Viewer::Person(Person { scopes: Some(scopes), ..person }),
        }
    }

    /// Who logged in, or the operator: no program with a key.
    pub fn is_in_person(&self) -> bool {
        match self {
            Viewer::Operator => true,
            Viewer::Person(person) => person.scopes.is_none(),
        }
    }

    /// What makes a way in or an admin is done in person: a key that leaks must not be able to beget what outlives it.
    ///
    /// # Errors
    /// [`Refusal::Forbidden`] for a program with a key.
    pub fn in_person(&self) -> Result<(), Refusal> {
        match self.is_in_person() {
            true => Ok(()),
            false => Err(Refusal::Forbidden("an API key cannot do this: log in to the dashboard")),
        }
    }

    /// How the audit log names this viewer.
    pub fn author(&self) -> Author {
        match self {
            Viewer::Operator => Author::of(Via::Socket),
            Viewer::Person(person) => person.author.clone(),
        }
    }

    /// The login, for a person.
    pub fn login(&self) -> Option<&str> {
        match self {
            Viewer::Operator => None,
            Viewer::Person(person) => Some(&person.login),
        }
    }

    /// Sees and may change every organisation.
    pub fn rules_all(&self) -> bool {
        match self {
            Viewer::Operator => true,
            Viewer::Person(person) => person.role == Role::ServerAdmin,
        }
    }

    /// May change the switches and the users of this organisation.
    pub fn rules(&self, org: &OrgName) -> bool {
        self.rules_all() || self.org_ruled() == Some(org)
    }

    /// The one organisation an org admin rules.
    pub fn org_ruled(&self) -> Option<&OrgName> {
        match self {
            Viewer::Person(Person { role: Role::OrgAdmin, org, .. }) => org.as_ref(),
            _ => None,
        }
    }

    /// Reads every mail of this organisation.
    pub fn reads_all_of(&self, org: &OrgName) -> bool {
        match self {
            Viewer::Operator => true,
            Viewer::Person(person) => self.rules_all() || (person.sees_messages && self.org_ruled() == Some(org)),
        }
    }

    /// May know this organisation and read its switches: whoever rules it or sends for it.
    pub fn belongs_to(&self, org: &OrgName) -> bool {
        match self {
            Viewer::Operator => true,
            Viewer::Person(person) => person.role == Role::ServerAdmin || person.org.as_ref() == Some(org),
        }
    }

    /// How much of a mail sent by `login` for `org` this viewer sees. Other people's mail is counts only for an org
    /// admin, unless the organisation says otherwise: their subjects and recipients are personal data (DESIGN 8).
    pub fn sight(&self, org: &OrgName, login: Option<&str>) -> Sight {
        let Viewer::Person(person) = self else { return Sight::Whole };
        let own = login == Some(person.login.as_str()) && person.org.as_ref() == Some(org);
        if own || person.role == Role::ServerAdmin || self.reads_all_of(org) {
            Sight::Whole
        } else if self.rules(org) {
            Sight::Counts
        } else {
            Sight::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn org(name: &str) -> OrgName {
        name.parse().unwrap()
    }

    fn person(role: Role, login: &str, at: Option<&str>) -> Viewer {
        let author = Author::of(Via::Dashboard);
        Viewer::Person(Person {
            login: login.into(),
            org: at.map(org),
            role,
            author,
            scopes: None,
            sees_messages: false,
        })
    }

    #[test]
    fn sight_of_a_mail_by_role() {
        let server = person(Role::ServerAdmin, "root", None);
        let admin = person(Role::OrgAdmin, "boss", Some("a"));
        let sender = person(Role::Sender, "ann", Some("a"));
        let rows: &[(&Viewer, &str, Option<&str>, Sight)] = &[
            // the operator and a server admin see everything, trusted networks' mail too
            (&Viewer::Operator, "a", Some("ann"), Sight::Whole),
            (&Viewer::Operator, "b", None, Sight::Whole),
            (&server, "b", Some("eve"), Sight::Whole),
            (&server, "b", None, Sight::Whole),
            // an org admin: own mail whole, the org's counts, nothing of another org even under the same login
            (&admin, "a", Some("boss"), Sight::Whole),
            (&admin, "a", Some("ann"), Sight::Counts),
            (&admin, "a", None, Sight::Counts),
            (&admin, "b", Some("eve"), Sight::Nothing),
            (&admin, "b", Some("boss"), Sight::Nothing),
            (&admin, "b", None, Sight::Nothing),
            // a sender: own mail only, in the org it belongs to now
            (&sender, "a", Some("ann"), Sight::Whole),
            (&sender, "a", Some("boss"), Sight::Nothing),
            (&sender, "a", None, Sight::Nothing),
            (&sender, "b", Some("ann"), Sight::Nothing),
        ];
        for (viewer, at, login, expected) in rows {
            assert_eq!(viewer.sight(&org(at), *login), *expected, "{viewer:?} {at} {login:?}");
        }
    }

    /// With `admins_see_messages`: the admin of that organisation, and nobody besides.
    #[test]
    fn sight_where_admins_see_messages() {
        let seeing = |role, login, at| person(role, login, Some(at)).seeing_messages(true);
        let (admin, sender) = (seeing(Role::OrgAdmin, "boss", "a"), seeing(Role::Sender, "ann", "a"));
        for (viewer, at, login, expected) in [
            (&admin, "a", Some("ann"), Sight::Whole),
            (&admin, "a", None, Sight::Whole),
            (&admin, "b", Some("eve"), Sight::Nothing),
            (&sender, "a", Some("ann"), Sight::Whole),
            (&sender, "a", Some("boss"), Sight::Nothing),
            (&sender, "a", None, Sight::Nothing),
        ] {
            assert_eq!(viewer.sight(&org(at), login), expected, "{viewer:?} {at} {login:?}");
        }
    }

    #[test]
    fn who_rules_whom() {
        let server = person(Role::ServerAdmin, "root", None);
        let admin = person(Role::OrgAdmin, "boss", Some("a"));
        let sender = person(Role::Sender, "ann", Some("a"));
        // (viewer, rules a, rules b, belongs to a, belongs to b)
        for (viewer, rules_a, rules_b, at_a, at_b) in [
            (&Viewer::Operator, true, true, true, true),
            (&server, true, true, true, true),
            (&admin, true, false, true, false),
            (&sender, false, false, true, false),
        ] {
            let got = (
                viewer.rules(&org("a")),
                viewer.rules(&org("b")),
                viewer.belongs_to(&org("a")),
                viewer.belongs_to(&org("b")),
            );
            assert_eq!(got, (rules_a, rules_b, at_a, at_b), "{viewer:?}");
        }
        // an org admin without an org rules nothing
        assert!(!person(Role::OrgAdmin, "x", None).rules(&org("a")));
    }
}
