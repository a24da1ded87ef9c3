//! Every page × every role × both organisations: the table of who may see and do what (DESIGN 4.5, 8).

use axum::http::StatusCode;

use super::fixture::{HOSTILE, World, world};

/// Nobody, the server admin, acme's admin and sender, other's admin and sender.
const WHO: [&str; 6] = ["", "root", "boss", "ann", "chief", "eve"];

/// Address, form (none for GET), and what each of [`WHO`] gets: `login` is the way to the login page, `done` a redirect
/// after a form, else a status.
type Row = (&'static str, Option<&'static [(&'static str, &'static str)]>, [&'static str; 6]);

/// An app password of ann's, by its public name.
const ANNS_APP: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// An open invitation into acme, by its public name.
const INVITED: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const ANNS: &str = "/messages/00000000000000a1";
const EVERYBODY: [&str; 6] = ["login", "200", "200", "200", "200", "200"];
const ROOT_ONLY: [&str; 6] = ["login", "200", "403", "403", "403", "403"];

const TABLE: &[Row] = &[
    // the list: a foreign organisation is not there
    ("/", None, EVERYBODY),
    ("/?org=acme", None, ["login", "200", "200", "200", "404", "404"]),
    ("/?org=other", None, ["login", "200", "404", "404", "200", "200"]),
    ("/?org=none", None, ["login", "200", "404", "404", "404", "404"]),
    // the counts of the last days: likewise
    ("/figures", None, EVERYBODY),
    ("/figures?org=acme", None, ["login", "200", "200", "200", "404", "404"]),
    // whether everything works: admins
    ("/health", None, ["login", "200", "200", "403", "200", "403"]),
    // how to send through here: everybody; a test mail is one's own, and who may read it may follow it
    ("/setup", None, EVERYBODY),
    ("/setup/test-mail", Some(&[("to", "reader@example.com")]), ["login", "done", "done", "done", "done", "done"]),
    ("/setup/test-mail", Some(&[("to", "")]), ["login", "422", "422", "422", "422", "422"]),
    ("/setup/test-mail/00000000000000a1", None, ["login", "200", "403", "200", "404", "404"]),
    ("/setup/test-mail/00000000000000e0", None, ["login", "200", "404", "404", "403", "200"]),
    ("/setup/test-mail/nonsense", None, ["login", "404", "404", "404", "404", "404"]),
    // a search, and the same as a file
    ("/?subject=offer&readers=opened&from=2026-11-01", None, EVERYBODY),
    ("/?readers=yawned", None, ["login", "422", "422", "422", "422", "422"]),
    // where nothing is, but what is in the address of each mail
    ("/messages", None, ["done", "done", "done", "done", "done", "done"]),
    ("/messages.csv", None, EVERYBODY),
    ("/messages.csv?org=acme", None, ["login", "200", "200", "200", "404", "404"]),
    // people: of mail that may be read
    ("/people", None, EVERYBODY),
    ("/people/one?address=bob@reader.example", None, ["login", "200", "200", "200", "404", "200"]),
    ("/people/one?address=CY@reader.example", None, ["login", "200", "404", "200", "404", "404"]),
    ("/people/one?address=nobody@reader.example", None, ["login", "404", "404", "404", "404", "404"]),
    // one mail: its sender and the server admin; the org's admin knows of it and may not read it; by id nobody else
    (ANNS, None, ["login", "200", "403", "200", "404", "404"]),
    ("/messages/00000000000000b0", None, ["login", "200", "200", "404", "404", "404"]),
    ("/messages/00000000000000e0", None, ["login", "200", "404", "404", "403", "200"]),
    ("/messages/00000000000000ff", None, ["login", "200", "403", "404", "404", "404"]),
    ("/messages/0000000000000bad", None, ["login", "404", "404", "404", "404", "404"]),
    ("/messages/nonsense", None, ["login", "404", "404", "404", "404", "404"]),
    // what was their own, its reader knows
    ("/messages/00000000000000a1/events", Some(&[("own", "1")]), ["login", "done", "403", "done", "404", "404"]),
    ("/messages/00000000000000a1/events", Some(&[("own", "4")]), ["login", "404", "403", "404", "404", "404"]),
    ("/messages/00000000000000a1/events", Some(&[("not_own", "1")]), ["login", "422", "403", "422", "404", "404"]),
    // its links: whoever may read it
    ("/messages/00000000000000a1/links/0", Some(&[("do", "withdraw")]), ["login", "done", "403", "done", "404", "404"]),
    ("/messages/00000000000000e0/links/0", Some(&[("do", "withdraw")]), ["login", "done", "404", "404", "403", "done"]),
    ("/messages/00000000000000a1/links/9", Some(&[("do", "withdraw")]), ["login", "404", "403", "404", "404", "404"]),
    // settings: everyone reads their own organisation's, its admin turns them
    ("/orgs", None, ["login", "200", "done", "done", "done", "done"]),
    ("/orgs/acme", None, ["login", "200", "200", "200", "404", "404"]),
    ("/orgs/other", None, ["login", "200", "404", "404", "200", "200"]),
    ("/orgs/none", None, ["login", "404", "404", "404", "404", "404"]),
    ("/orgs/acme", Some(&[("opens", "off")]), ["login", "done", "done", "403", "404", "404"]),
    ("/orgs/other", Some(&[("opens", "off")]), ["login", "done", "404", "404", "done", "403"]),
    // above the ceiling: nobody
    ("/orgs/acme", Some(&[("links", "individual")]), ["login", "422", "422", "403", "404", "404"]),
    // domains decide who may be impersonated: the server admin, and never another organisation's
    ("/orgs/acme", Some(&[("domains", "acme.example, new.example")]), ["login", "done", "403", "403", "404", "404"]),
    ("/orgs/acme", Some(&[("domains", "other.example")]), ["login", "422", "403", "403", "404", "404"]),
    // what config.toml manages stays
    ("/orgs/managed", Some(&[("opens", "off")]), ["login", "422", "404", "404", "404", "404"]),
    ("/orgs/managed", Some(&[("domains", "x.example")]), ["login", "422", "404", "404", "404", "404"]),
    // the account upstream: whoever rules the organisation, where there is one
    ("/orgs/acme/upstream-password", Some(&[("password", "s3cret")]), ["login", "done", "done", "403", "404", "404"]),
    ("/orgs/acme/upstream-password", Some(&[("password", "")]), ["login", "422", "422", "403", "404", "404"]),
    ("/orgs/acme/upstream-password", Some(&[("do", "forget")]), ["login", "404", "404", "403", "404", "404"]),
    ("/orgs/other/upstream-password", Some(&[("password", "s3cret")]), ["login", "422", "404", "404", "422", "403"]),
    // why: one's own mail, an admin everybody's of the organisation
    ("/why", None, EVERYBODY),
    ("/why?from=ann&to=bob@reader.example", None, ["login", "200", "200", "200", "404", "404"]),
    ("/why?from=boss&to=bob@reader.example", None, ["login", "200", "200", "403", "404", "404"]),
    ("/why?from=x@acme.example&to=bob@reader.example", None, ["login", "200", "200", "403", "404", "404"]),
    ("/why?from=ann&to=nobody", None, ["login", "422", "422", "422", "404", "404"]),
    ("/why?from=nobody@none.example&to=bob@reader.example", None, ["login", "404", "404", "404", "404", "404"]),
    ("/why?org=acme&from=-&to=bob@reader.example", None, ["login", "200", "200", "403", "404", "404"]),
    ("/why?org=none&from=-&to=bob@reader.example", None, ["login", "404", "404", "404", "404", "404"]),
    // what recipients said: the organisation's admin, who may note it and never in the recipient's place
    ("/orgs/acme/privacy", None, ["login", "200", "200", "403", "404", "404"]),
    ("/orgs/acme/privacy?address=bob@reader.example", None, ["login", "200", "200", "403", "404", "404"]),
    ("/orgs/acme/privacy?address=nobody", None, ["login", "422", "422", "403", "404", "404"]),
    ("/orgs/other/privacy", None, ["login", "200", "404", "404", "200", "403"]),
    ("/orgs/acme/privacy", Some(&[("footer", "See [here]")]), ["login", "done", "done", "403", "404", "404"]),
    ("/orgs/acme/privacy", Some(&[("footer", "no link")]), ["login", "422", "422", "403", "404", "404"]),
    ("/orgs/acme/privacy/note", Some(GRANT), ["login", "done", "done", "403", "404", "404"]),
    ("/orgs/acme/privacy/note", Some(GRANT_WITHOUT_PROOF), ["login", "422", "422", "403", "404", "404"]),
    ("/orgs/acme/privacy/note", Some(STOP), ["login", "422", "422", "403", "404", "404"]),
    // the audit log: admins, of their own
    ("/audit", None, ["login", "200", "200", "403", "200", "403"]),
    ("/audit?org=acme", None, ["login", "200", "200", "403", "404", "403"]),
    ("/audit?org=other", None, ["login", "200", "404", "403", "200", "403"]),
    ("/audit/log.csv", None, ["login", "200", "200", "403", "200", "403"]),
    ("/audit/log.csv?org=acme", None, ["login", "200", "200", "403", "404", "403"]),
    ("/audit/log.json?org=other", None, ["login", "200", "404", "403", "200", "403"]),
    ("/audit/log.exe", None, ["login", "404", "404", "404", "404", "404"]),
    // users: admins, of their own
    ("/users", None, ["login", "200", "200", "403", "200", "403"]),
    ("/users/edit?login=ann", None, ["login", "200", "200", "403", "404", "403"]),
    ("/users/edit?login=eve", None, ["login", "200", "404", "403", "200", "403"]),
    ("/users/edit?login=root", None, ["login", "200", "404", "403", "404", "403"]),
    ("/users", Some(NEW_ACME), ["login", "done", "done", "403", "404", "403"]),
    ("/users", Some(NEW_OTHER), ["login", "done", "404", "403", "done", "403"]),
    // nobody hands out more than they have
    ("/users", Some(NEW_ADMIN), ["login", "done", "403", "403", "404", "403"]),
    ("/users", Some(NEW_ROOT), ["login", "done", "403", "403", "403", "403"]),
    ("/users", Some(NEW_ADDRESS), ["login", "done", "403", "403", "404", "403"]),
    // an address of another organisation: nobody
    ("/users", Some(NEW_SPOOF), ["login", "422", "403", "403", "404", "403"]),
    (
        "/users/password",
        Some(&[("login", "ann"), ("password", "a new password")]),
        ["login", "done", "done", "404", "404", "404"],
    ),
    (
        "/users/password",
        Some(&[("login", "root"), ("password", "a new password")]),
        // one's own needs the present one
        ["login", "422", "404", "404", "404", "404"],
    ),
    // what others log in with: whoever manages them takes it back; ann's app password is there, boss has none
    (
        "/users/credentials/remove",
        Some(&[("login", "ann"), ("id", ANNS_APP)]),
        ["login", "done", "done", "done", "404", "404"],
    ),
    (
        "/users/credentials/remove",
        Some(&[("login", "boss"), ("id", ANNS_APP)]),
        ["login", "404", "404", "404", "404", "404"],
    ),
    ("/users/sessions/end", Some(&[("login", "ann"), ("id", "all")]), ["login", "done", "done", "done", "404", "404"]),
    ("/users/sessions/end", Some(&[("login", "root"), ("id", "all")]), ["login", "done", "404", "404", "404", "404"]),
    ("/users/sessions/end", Some(&[("login", "ann"), ("id", ANNS_APP)]), ["login", "404", "404", "404", "404", "404"]),
    // what a user may do: whoever manages them, up to their own; never one's own role
    ("/users/set", Some(&[("login", "ann"), ("role", "org-admin")]), ["login", "done", "done", "404", "404", "404"]),
    ("/users/set", Some(&[("login", "ann"), ("role", "server-admin")]), ["login", "done", "403", "404", "404", "404"]),
    (
        "/users/set",
        Some(&[("login", "ann"), ("addresses", "me@home.example")]),
        ["login", "done", "403", "404", "404", "404"],
    ),
    ("/users/set", Some(&[("login", "boss"), ("role", "sender")]), ["login", "done", "422", "404", "404", "404"]),
    ("/users/set", Some(&[("login", "root"), ("role", "sender")]), ["login", "422", "404", "404", "404", "404"]),
    ("/users/remove?login=ann", None, ["login", "200", "200", "404", "404", "404"]),
    ("/users/remove?login=root", None, ["login", "409", "404", "404", "404", "404"]),
    ("/users/remove?login=boss", None, ["login", "200", "409", "404", "404", "404"]),
    ("/users/remove", Some(&[("login", "ann")]), ["login", "done", "done", "404", "404", "404"]),
    ("/users/remove", Some(&[("login", "eve")]), ["login", "done", "404", "404", "done", "404"]),
    // not oneself, not the last server admin
    ("/users/remove", Some(&[("login", "root")]), ["login", "422", "404", "404", "404", "404"]),
    ("/users/remove", Some(&[("login", "boss")]), ["login", "done", "422", "404", "404", "404"]),
    // what a user chooses for their own mail: each their own, an admin their users'; the server admin sends no mail
    ("/tracking", None, ["login", "404", "200", "200", "200", "200"]),
    ("/tracking?login=ann", None, ["login", "200", "200", "200", "404", "404"]),
    ("/tracking?login=boss", None, ["login", "200", "200", "404", "404", "404"]),
    ("/tracking?login=root", None, ["login", "404", "404", "404", "404", "404"]),
    ("/tracking", Some(&[("login", "ann"), ("opens", "off")]), ["login", "done", "done", "done", "404", "404"]),
    ("/tracking", Some(&[("login", "ann"), ("links", "individual")]), ["login", "422", "422", "422", "404", "404"]),
    ("/tracking", Some(&[("login", "ann"), ("place", "country")]), ["login", "done", "done", "done", "404", "404"]),
    ("/tracking", Some(&[("login", "ann"), ("excluded_hosts", "a b")]), ["login", "422", "422", "422", "404", "404"]),
    // whom she excludes is somebody she writes to: who may not read that may not change it
    (
        "/tracking",
        Some(&[("login", "ann"), ("excluded_recipients", "x")]),
        ["login", "done", "403", "done", "404", "404"],
    ),
    ("/tracking", Some(&[("shadow", "on")]), ["login", "404", "done", "done", "done", "done"]),
    // invitations: as with users, nobody hands out more than they have, nor to their own
    ("/users/invite", Some(NEW_ACME), ["login", "200", "200", "403", "404", "403"]),
    ("/users/invite", Some(NEW_ADMIN), ["login", "200", "403", "403", "404", "403"]),
    ("/users/invite", Some(NEW_ROOT), ["login", "200", "403", "403", "403", "403"]),
    (
        "/users/invite",
        Some(&[("login", "eve"), ("org", "acme"), ("role", "sender")]),
        ["login", "422", "422", "403", "404", "403"],
    ),
    ("/users/invite/withdraw", Some(&[("id", INVITED)]), ["login", "done", "done", "404", "404", "404"]),
    ("/users/invite/withdraw", Some(&[("id", "x")]), ["login", "404", "404", "404", "404", "404"]),
    ("/users/link", Some(&[("login", "ann")]), ["login", "200", "200", "404", "404", "404"]),
    ("/users/link", Some(&[("login", "boss")]), ["login", "200", "422", "404", "404", "404"]),
    ("/users/link", Some(&[("login", "root")]), ["login", "422", "404", "404", "404", "404"]),
    ("/users/factor", Some(&[("login", "ann")]), ["login", "404", "404", "404", "404", "404"]),
    ("/users/factor", Some(&[("login", "root")]), ["login", "422", "404", "404", "404", "404"]),
    // who gets in how: its admins read it, a server admin changes it
    ("/orgs/acme/access", None, ["login", "200", "200", "403", "404", "404"]),
    ("/orgs/acme/access", Some(&[("admins_see_messages", "on")]), ["login", "done", "403", "403", "404", "404"]),
    ("/orgs/other/access", Some(&[("second_factor", "required")]), ["login", "done", "404", "404", "403", "403"]),
    // one's own second factor
    ("/account/second-factor", None, EVERYBODY),
    ("/account/second-factor", Some(&[("do", "confirm")]), ["login", "422", "422", "422", "422", "422"]),
    ("/account/second-factor", Some(&[("do", "remove")]), ["login", "422", "422", "422", "422", "422"]),
    ("/account/second-factor", Some(&[("do", "x")]), ["login", "400", "400", "400", "400", "400"]),
    (
        "/login/code",
        Some(&[("ticket", "x"), ("code", "000000")]),
        ["login", "login", "login", "login", "login", "login"],
    ),
    ("/login/password", Some(&[("ticket", "x"), PASSWORD]), ["login", "login", "login", "login", "login", "login"]),
    // a link that is none is the same page for everyone
    ("/join/nonsense", None, ["410", "410", "410", "410", "410", "410"]),
    ("/join/nonsense", Some(&[PASSWORD]), ["410", "410", "410", "410", "410", "410"]),
    // one's own account
    ("/account", None, EVERYBODY),
    ("/api", None, EVERYBODY),
    (
        "/account",
        Some(&[("present", "wrong"), ("password", "a new password")]),
        ["login", "422", "422", "422", "422", "422"],
    ),
    // one's own programs; who belongs to no organisation sends no mail
    ("/account/app-passwords", Some(&[("name", "phone")]), ["login", "422", "200", "200", "200", "200"]),
    ("/account/app-passwords", Some(&[("name", " ")]), ["login", "422", "422", "422", "422", "422"]),
    ("/account/api-keys", Some(&[("name", "x"), ("scope", "users")]), ["login", "200", "200", "200", "200", "200"]),
    ("/account/api-keys", Some(&[("name", "x")]), ["login", "422", "422", "422", "422", "422"]),
    ("/account/api-keys", Some(&[("name", "x"), ("scope", "all")]), ["login", "400", "400", "400", "400", "400"]),
    ("/account/credentials/remove", Some(&[("id", ANNS_APP)]), ["login", "404", "404", "done", "404", "404"]),
    ("/account/sessions/end", Some(&[("id", "all")]), ["login", "done", "done", "done", "done", "done"]),
    ("/account/sessions/end", Some(&[("id", "x")]), ["login", "404", "404", "404", "404", "404"]),
    // the queue: an organisation's admin knows of its mail and may hurry it; only who may read a mail may drop it
    ("/queue", None, EVERYBODY),
    ("/queue/00000000000000a1", None, ["login", "200", "200", "200", "404", "404"]),
    ("/queue/00000000000000e0", None, ["login", "200", "404", "404", "200", "200"]),
    ("/queue/00000000000000ff", None, ["login", "200", "200", "404", "404", "404"]),
    ("/queue/000000000000004e", None, ["login", "200", "200", "404", "404", "404"]),
    ("/queue/0000000000000bad", None, ["login", "404", "404", "404", "404", "404"]),
    ("/queue/nonsense", None, ["login", "404", "404", "404", "404", "404"]),
    ("/queue/retry", Some(&[]), ["login", "done", "done", "done", "done", "done"]),
    ("/queue/00000000000000a1/retry", Some(&[]), ["login", "done", "done", "done", "404", "404"]),
    ("/queue/00000000000000a1/drop", None, ["login", "200", "403", "200", "404", "404"]),
    ("/queue/00000000000000a1/drop", Some(&[]), ["login", "done", "403", "done", "404", "404"]),
    ("/queue/00000000000000ff/drop", Some(&[]), ["login", "done", "403", "404", "404", "404"]),
    ("/queue/00000000000000e0/drop", Some(&[]), ["login", "done", "404", "404", "403", "done"]),
    // activity: everybody's page shows what they may know of; the feed is a stream for whoever is logged in, and of the API
    ("/activity", None, EVERYBODY),
    ("/api/v1/feed", None, ["401", "stream", "stream", "stream", "stream", "stream"]),
    // notices: one's own by everyone, an organisation's by its admins
    ("/notices", None, EVERYBODY),
    ("/notices", Some(&[("level", "every"), ("mail", "on")]), ["login", "done", "done", "done", "done", "done"]),
    ("/notices", Some(&[("level", "all")]), ["login", "400", "400", "400", "400", "400"]),
    ("/notices/org", Some(&[("org", "acme"), ("level", "first")]), ["login", "done", "done", "403", "404", "404"]),
    ("/notices/org", Some(&[("org", "none"), ("level", "first")]), ["login", "404", "404", "404", "404", "404"]),
    // webhooks: about one's own mail by everyone who sends, about everybody's by admins, with names by server admins
    (
        "/webhooks",
        Some(&[HOOK, OPENED, ("whose", "own"), ("org", "acme")]),
        ["login", "404", "200", "200", "404", "404"],
    ),
    (
        "/webhooks",
        Some(&[HOOK, OPENED, ("whose", "all"), ("org", "acme")]),
        ["login", "200", "200", "403", "404", "404"],
    ),
    (
        "/webhooks",
        Some(&[HOOK, OPENED, ("whose", "all"), ("org", "acme"), ("words", "on")]),
        ["login", "200", "403", "403", "404", "404"],
    ),
    ("/webhooks", Some(&[HOOK, ("whose", "own"), ("org", "other")]), ["login", "422", "422", "422", "422", "422"]),
    (
        "/webhooks",
        Some(&[("url", "http://169.254.169.254/"), OPENED, ("whose", "own"), ("org", "other")]),
        ["login", "422", "422", "422", "422", "422"],
    ),
    // one that is there: everybody's of acme without names, ann's own, everybody's of other with names
    ("/webhooks/00000000000000ac", None, ["login", "200", "200", "404", "404", "404"]),
    ("/webhooks/00000000000000a1", None, ["login", "200", "404", "200", "404", "404"]),
    ("/webhooks/0000000000000007", None, ["login", "200", "404", "404", "404", "404"]),
    ("/webhooks/nonsense", None, ["login", "404", "404", "404", "404", "404"]),
    ("/webhooks/00000000000000ac", Some(&[("do", "test")]), ["login", "done", "done", "404", "404", "404"]),
    ("/webhooks/00000000000000a1", Some(&[("do", "pause")]), ["login", "done", "404", "done", "404", "404"]),
    (
        "/webhooks/0000000000000007",
        Some(&[("do", "save"), HOOK, OPENED]),
        ["login", "done", "404", "404", "404", "404"],
    ),
    ("/webhooks/00000000000000ac", Some(&[("do", "remove")]), ["login", "done", "done", "404", "404", "404"]),
    ("/webhooks/00000000000000ac/deliveries/1", Some(&[]), ["login", "404", "404", "404", "404", "404"]),
    // the inbox holds everyone's mail
    ("/inbox", None, ROOT_ONLY),
    ("/inbox/20261123T200007Z-a1", None, ROOT_ONLY),
    ("/inbox/20261123T200007Z-a1/frame", None, ROOT_ONLY),
    ("/inbox/20261123T200007Z-a1/raw", None, ROOT_ONLY),
    ("/inbox/test-mail", Some(&[("to", "reader@example.com")]), ["login", "done", "403", "403", "403", "403"]),
    ("/logout", Some(&[]), ["login", "login", "login", "login", "login", "login"]),
    // a browser without a socket of this machine: server admins
    ("/metrics", None, ["404", "200", "404", "404", "404", "404"]),
    // open to all
    ("/login", None, ["200", "done", "done", "done", "done", "done"]),
    ("/nowhere", None, ["404", "404", "404", "404", "404", "404"]),
];

const GRANT: &[(&str, &str)] =
    &[("address", "bob@reader.example"), ("act", "grant"), ("source", "form"), ("wording", "I agree")];
const GRANT_WITHOUT_PROOF: &[(&str, &str)] = &[("address", "bob@reader.example"), ("act", "grant")];
const STOP: &[(&str, &str)] = &[("address", "bob@reader.example"), ("act", "stop"), ("source", "form")];
const HOOK: (&str, &str) = ("url", "https://hooks.example/in");
const OPENED: (&str, &str) = ("opened", "on");
const PASSWORD: (&str, &str) = ("password", "long enough for us");
const NEW_ACME: &[(&str, &str)] = &[("login", "new"), ("org", "acme"), ("role", "sender"), PASSWORD];
const NEW_OTHER: &[(&str, &str)] = &[("login", "new"), ("org", "other"), ("role", "sender"), PASSWORD];
const NEW_ADMIN: &[(&str, &str)] = &[("login", "new"), ("org", "acme"), ("role", "server-admin"), PASSWORD];
const NEW_ROOT: &[(&str, &str)] = &[("login", "new"), ("org", ""), ("role", "server-admin"), PASSWORD];
const NEW_ADDRESS: &[(&str, &str)] =
    &[("login", "new"), ("org", "acme"), ("role", "sender"), ("addresses", "me@home.example"), PASSWORD];
const NEW_SPOOF: &[(&str, &str)] =
    &[("login", "new"), ("org", "acme"), ("role", "sender"), ("addresses", "boss@Other.example"), PASSWORD];

#[tokio::test]
async fn who_may_see_and_do_what() {
    let mut wrong = Vec::new();
    for (path, form, expected) in TABLE {
        for (who, expected) in WHO.iter().zip(expected) {
            let got = outcome(&world().await, who, path, *form).await;
            if got != *expected {
                wrong.push(format!("{path} {form:?} as {who:?}: {got}, not {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

async fn outcome(world: &World, who: &str, path: &str, form: Option<&[(&str, &str)]>) -> String {
    if path == "/api/v1/feed" && !who.is_empty() {
        // It has no end: that it begins is what counts.
        return world.logged_in(who).begins_stream(path).await;
    }
    let browser = if who.is_empty() { world.stranger() } else { world.logged_in(who) };
    let answer = match form {
        None => browser.get(path).await,
        Some(fields) => browser.post(path, fields).await,
    };
    match answer.status {
        StatusCode::SEE_OTHER if answer.header("location").starts_with("/login") => "login".to_owned(),
        StatusCode::SEE_OTHER => "done".to_owned(),
        other => other.as_u16().to_string(),
    }
}

#[test]
fn the_table_names_every_route() {
    let router = include_str!("../pages/mod.rs");
    let routes = router.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
    for route in routes.filter(|route| !route.starts_with("/assets/")) {
        let fits = |path: &str| {
            let path = path.split('?').next().unwrap_or_default();
            let (path, route): (Vec<&str>, Vec<&str>) = (path.split('/').collect(), route.split('/').collect());
            path.len() == route.len()
                && path.iter().zip(&route).all(|(is, should)| is == should || should.starts_with('{'))
        };
        assert!(TABLE.iter().any(|(path, ..)| fits(path)), "{route} has no row");
    }
}

#[tokio::test]
async fn lists_hold_nothing_of_others() {
    let world = world().await;
    // (who, what their list says, what it must not say)
    let rows: &[(&str, &[&str], &[&str])] = &[
        ("root", &["Your offer of today", "Secret of other", "Report of the night"], &["Mail of another sender"]),
        // the org's admin: own subjects, others' counts, no way into them, nothing of the other org
        (
            "boss",
            &["Mail of another sender", "1 of 3"],
            &["Your offer", "Secret", "Report of the night", "messages/00000000000000a1", "eve"],
        ),
        ("ann", &["Your offer of today"], &["Secret", "Report", "Mail of another sender", "boss"]),
        ("chief", &["Mail of another sender"], &["Secret", "Your offer", "acme"]),
        ("eve", &["Secret of other"], &["Your offer", "acme"]),
    ];
    for (who, says, silent) in rows {
        let page = world.logged_in(who).get("/").await.text;
        for word in *says {
            assert!(page.contains(word), "{who} misses {word:?}");
        }
        for word in *silent {
            assert!(!page.contains(word), "{who} finds {word:?}");
        }
    }
    // the user list of an org admin
    let page = world.logged_in("boss").get("/users").await.text;
    assert!(
        page.contains("ann") && !page.contains("login=eve") && !page.contains("root") && !page.contains("other"),
        "{page}"
    );
    assert!(!page.contains(HOSTILE));
}
