//! The server we forward to: whether it is there, what it offers, whether it takes our login, and how the last attempts
//! went. Pure: facts in, checks out.

use std::time::Duration;

use super::dns::literal;
use super::report::{Area, Check, UPSTREAM};
use crate::deliver::courier::Standing;
use crate::deliver::{Capabilities, Stage, Trouble, Why};
use crate::settings::OrgName;

const TLS: &str = "upstream.tls";
const LOGIN: &str = "upstream.login";
const SIZE: &str = "upstream.size";
const STANDING: &str = "upstream.deliveries";

/// How we log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginKind {
    /// Not at all.
    None,
    /// Every client as itself.
    Passthrough,
    /// As `[upstream]` says.
    Own,
}

/// What the configuration says of upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// `smtp.example.com:587`.
    pub name: String,
    /// `[upstream] tls`.
    pub tls: &'static str,
    /// `[upstream] auth`.
    pub login: LoginKind,
    /// It is an organisation's own, from `[org.upstream]`.
    pub own: bool,
    /// Octets of the largest mail that we take.
    pub message_bytes_max: u64,
}

impl Expected {
    /// Where the file speaks of it.
    fn section(&self) -> &'static str {
        if self.own { "[org.upstream]" } else { "[upstream]" }
    }
}

/// What came of trying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Connecting without a login.
    pub reached: Result<Capabilities, Trouble>,
    /// Logging in with our own login; `None` where it was not tried. Never with the login itself.
    pub logged_in: Option<Result<(), String>>,
}

/// What trying means.
pub fn judge(expected: &Expected, tried: &Tried) -> Vec<Check> {
    let offered = match &tried.reached {
        Ok(offered) => offered,
        Err(trouble) => return vec![unreached(expected, trouble)],
    };
    let seen = format!("it answers and offers {}", offers(offered));
    let mut checks = vec![Check::ok(Area::Upstream, UPSTREAM, seen), tls(expected)];
    checks.push(login(expected, offered, tried.logged_in.as_ref()));
    checks.extend(size(expected, offered));
    checks.into_iter().map(|check| check.about(&expected.name)).collect()
}

/// An organisation whose own upstream is no longer in the configuration: what it sends waits.
pub fn stranded(org: &OrgName) -> Check {
    let seen = format!(
        "the upstream of {org} is no longer in config.toml: its mail is held, for it must not leave through another's account"
    );
    let fix = format!(
        "put its [org.upstream] back; or name {org} in an [[org]] without one, and its new mail uses the server's"
    );
    Check::fail(Area::Upstream, UPSTREAM, seen, fix).of_org(Some(org))
}

fn unreached(expected: &Expected, trouble: &Trouble) -> Check {
    let section = expected.section();
    let fix = match (trouble.stage, &trouble.why) {
        (_, Why::NotOffered(_)) => format!(
            "set {section} tls to what upstream offers, or the port that goes with it (587: starttls, 465: implicit)"
        ),
        (Stage::Tls, Why::Tls(_)) => format!(
            "upstream's certificate is not for this name or not by a known authority: mend {section} host or ca_file"
        ),
        (Stage::Tls, _) => format!("{section} tls does not fit the port: 587 is usually starttls, 465 implicit"),
        (Stage::Connect, _) => format!(
            "look at {section} host and port, at the DNS, and at a firewall between; many providers block port 25"
        ),
        _ => "what upstream says is the reason; its administrator can mend it. Mail is kept and tried again meanwhile"
            .to_owned(),
    };
    Check::fail(Area::Upstream, UPSTREAM, trouble.to_string(), fix).about(&expected.name)
}

/// Its keywords in words.
fn offers(offered: &Capabilities) -> String {
    let size = offered.size_bytes.map(|bytes| format!("SIZE {bytes}"));
    let auth: Vec<&str> = [
        (offered.auth_plain, "PLAIN"),
        (offered.auth_login, "LOGIN"),
        (offered.auth_xoauth2, "XOAUTH2"),
        (offered.auth_oauthbearer, "OAUTHBEARER"),
    ]
    .into_iter()
    .filter_map(|(offered, word)| offered.then_some(word))
    .collect();
    let words = [
        (offered.pipelining, "PIPELINING"),
        (offered.eight_bit_mime, "8BITMIME"),
        (offered.smtputf8, "SMTPUTF8"),
        (offered.dsn, "DSN"),
        (offered.enhanced_status_codes, "ENHANCEDSTATUSCODES"),
        (offered.starttls, "STARTTLS"),
    ];
    let words = words.into_iter().filter(|(offered, _)| *offered).map(|(_, word)| word.to_owned());
    let auth = (!auth.is_empty()).then(|| format!("AUTH {}", auth.join(" ")));
    let all: Vec<String> = size.into_iter().chain(words).chain(auth).collect();
    if all.is_empty() { "nothing beyond plain SMTP".to_owned() } else { all.join(", ") }
}

fn tls(expected: &Expected) -> Check {
    let host = expected.name.rsplit_once(':').map_or(expected.name.as_str(), |(host, _port)| host);
    let here = host == "localhost" || literal(host).is_some_and(|address| address.to_canonical().is_loopback());
    match expected.tls {
        "starttls" => Check::ok(Area::Upstream, TLS, "STARTTLS, with a certificate that was verified"),
        "implicit" => Check::ok(Area::Upstream, TLS, "TLS from the first octet, with a certificate that was verified"),
        "opportunistic" => Check::warn(
            Area::Upstream,
            TLS,
            "TLS only where upstream happens to offer it",
            format!("{} tls = \"starttls\", if upstream has it", expected.section()),
        ),
        _ if here => Check::ok(Area::Upstream, TLS, "none: upstream is on this machine"),
        _ => Check::warn(
            Area::Upstream,
            TLS,
            "none: mail and login go in clear",
            format!("{} tls = \"starttls\" or \"implicit\"", expected.section()),
        ),
    }
}

fn login(expected: &Expected, offered: &Capabilities, logged_in: Option<&Result<(), String>>) -> Check {
    let any = offered.auth_plain || offered.auth_login || offered.auth_xoauth2 || offered.auth_oauthbearer;
    match (expected.login, logged_in) {
        (LoginKind::None, _) => Check::skipped(Area::Upstream, LOGIN, "no login is configured"),
        (LoginKind::Passthrough, _) if any => {
            Check::ok(Area::Upstream, LOGIN, "each client logs in as itself; upstream offers logins")
        }
        (LoginKind::Passthrough, _) => Check::fail(
            Area::Upstream,
            LOGIN,
            "each client logs in as itself, and upstream offers no login over this connection",
            format!("set {} tls and port to those of submission (587 or 465)", expected.section()),
        ),
        (LoginKind::Own, Some(Ok(()))) => {
            Check::ok(Area::Upstream, LOGIN, "upstream takes the login; no mail was sent")
        }
        (LoginKind::Own, Some(Err(why))) => Check::fail(
            Area::Upstream,
            LOGIN,
            why.clone(),
            format!(
                "mend username, password_file or token_command in {}; many providers want an app password. Then {}",
                expected.section(),
                if expected.own { "reload" } else { "restart" }
            ),
        ),
        (LoginKind::Own, None) => Check::unknown(Area::Upstream, LOGIN, "the login was not tried", ""),
    }
}

fn size(expected: &Expected, offered: &Capabilities) -> Option<Check> {
    let limit = offered.size_bytes.filter(|limit| *limit > 0)?;
    let ours = expected.message_bytes_max;
    Some(if limit < ours {
        Check::warn(
            Area::Upstream,
            SIZE,
            format!("upstream takes {limit} octets, we take {ours}: larger mail is refused by it (5.3.4)"),
            format!("[limits] message_bytes_max = {limit}, so that clients are told before they send"),
        )
    } else {
        Check::ok(Area::Upstream, SIZE, format!("upstream takes {limit} octets; we take {ours}"))
    })
}

/// How deliveries have gone since the start.
pub fn deliveries(standing: &Standing) -> Check {
    let last = match standing.accepted_ago {
        Some(ago) => format!("the last mail was accepted {} ago", span(ago)),
        None => "nothing was delivered since the start".to_owned(),
    };
    let trouble = standing.trouble.as_ref().map(|(ago, words)| (span(*ago), words));
    let since = |(ago, words): (String, &String)| format!("{last}; the last trouble was {ago} ago: {words}");
    match (standing.down, trouble) {
        (true, trouble) => Check::fail(
            Area::Upstream,
            STANDING,
            trouble.map_or_else(|| "upstream is taken to be down".to_owned(), since),
            "mail is kept, and upstream tried when a mail's turn comes; `waxseal queue list` shows what waits, `waxseal queue retry ID` tries at once",
        ),
        // A delivery since then shows that it has passed.
        (false, Some(trouble)) if standing.is_troubled() => Check::warn(
            Area::Upstream,
            STANDING,
            since(trouble),
            "`waxseal queue list` shows what waits, with upstream's words",
        ),
        (false, Some(trouble)) => Check::ok(Area::Upstream, STANDING, since(trouble)),
        (false, None) => Check::ok(Area::Upstream, STANDING, last),
    }
}

/// A time as people say it.
pub(super) fn span(time: Duration) -> String {
    let secs = time.as_secs();
    let (count, unit) = match secs {
        0..120 => (secs, "second"),
        120..7_200 => (secs / 60, "minute"),
        7_200..172_800 => (secs / 3_600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::super::report::State;
    use super::*;

    fn expected(login: LoginKind) -> Expected {
        Expected { name: "smtp.example.net:587".into(), tls: "starttls", login, own: false, message_bytes_max: 1_000 }
    }

    fn offered() -> Capabilities {
        Capabilities {
            size_bytes: Some(2_000),
            pipelining: true,
            auth_plain: true,
            auth_login: true,
            ..Default::default()
        }
    }

    fn told(expected: &Expected, tried: &Tried) -> Vec<(&'static str, State, String)> {
        let checks = judge(expected, tried);
        assert!(checks.iter().all(|check| check.state < State::Warn || !check.fix.is_empty()), "{checks:?}");
        checks.into_iter().map(|check| (check.name, check.state, check.seen)).collect()
    }

    fn state(of: &[(&'static str, State, String)], name: &str) -> Option<State> {
        of.iter().find(|(found, ..)| *found == name).map(|(_, state, _)| *state)
    }

    #[test]
    fn a_good_upstream() {
        let tried = Tried { reached: Ok(offered()), logged_in: Some(Ok(())) };
        let checks = told(&expected(LoginKind::Own), &tried);
        assert!(checks.iter().all(|(_, state, _)| *state == State::Ok), "{checks:?}");
        assert!(checks[0].2.contains("SIZE 2000, PIPELINING, AUTH PLAIN LOGIN"), "{checks:?}");
    }

    #[test]
    fn what_can_be_wrong_with_it() {
        // A wrong password: reachable all the same, and its words are kept.
        let tried = Tried { reached: Ok(offered()), logged_in: Some(Err("535 5.7.8 no at auth".into())) };
        let checks = told(&expected(LoginKind::Own), &tried);
        assert_eq!((state(&checks, UPSTREAM), state(&checks, LOGIN)), (Some(State::Ok), Some(State::Fail)));
        assert!(checks.iter().any(|(.., seen)| seen.contains("535 5.7.8")), "{checks:?}");
        // Passthrough where nobody can log in.
        let silent = Tried { reached: Ok(Capabilities::default()), logged_in: None };
        assert_eq!(state(&told(&expected(LoginKind::Passthrough), &silent), LOGIN), Some(State::Fail));
        assert_eq!(state(&told(&expected(LoginKind::None), &silent), LOGIN), Some(State::Skipped));
        // It takes less than we do.
        let small = Tried { reached: Ok(Capabilities { size_bytes: Some(999), ..offered() }), logged_in: None };
        assert_eq!(state(&told(&expected(LoginKind::None), &small), SIZE), Some(State::Warn));
        // Mail in clear.
        let plain = Expected { tls: "none", ..expected(LoginKind::None) };
        assert_eq!(state(&told(&plain, &small), TLS), Some(State::Warn));
        // Of an organisation's own the file speaks elsewhere.
        let own = Expected { own: true, ..plain.clone() };
        let fixes: Vec<String> = judge(&own, &small).into_iter().map(|check| check.fix).collect();
        assert!(fixes.iter().any(|fix| fix.contains("[org.upstream] tls")), "{fixes:?}");
        for name in ["127.0.0.1:25", "[::1]:25", "localhost:25"] {
            let here = Expected { name: name.to_owned(), ..plain.clone() };
            assert_eq!(state(&told(&here, &small), TLS), Some(State::Ok), "{name}");
        }
    }

    #[test]
    fn an_upstream_that_is_not_there_is_one_check_with_the_fitting_advice() {
        let rows = [
            (Stage::Connect, Why::Lost("connection refused".into()), "firewall"),
            (Stage::Tls, Why::NotOffered("STARTTLS"), "what upstream offers"),
            (Stage::Tls, Why::Tls("unknown issuer".into()), "ca_file"),
            (Stage::Tls, Why::TimedOut, "does not fit the port"),
            (Stage::Greeting, Why::TimedOut, "administrator"),
        ];
        for (stage, why, advice) in rows {
            let tried = Tried { reached: Err(Trouble { stage, why }), logged_in: None };
            let checks = judge(&expected(LoginKind::Own), &tried);
            assert_eq!(checks.len(), 1, "{checks:?}");
            assert!(checks[0].state == State::Fail && checks[0].fix.contains(advice), "{checks:?}");
            assert!(checks[0].subject == "smtp.example.net:587" && !checks[0].fix.contains("[org"), "{checks:?}");
        }
    }

    #[test]
    fn how_deliveries_went() {
        let secs = Duration::from_secs;
        let trouble = |ago| Some((secs(ago), "421 later at mail".to_owned()));
        let rows = [
            (Standing::default(), State::Ok, "nothing was delivered"),
            (Standing { accepted_ago: Some(secs(90)), ..Standing::default() }, State::Ok, "90 seconds ago"),
            // trouble that has passed, that lasts, and that has opened the breaker
            (
                Standing { accepted_ago: Some(secs(5)), trouble: trouble(7_200), down: false },
                State::Ok,
                "2 hours ago: 421",
            ),
            (Standing { accepted_ago: Some(secs(600)), trouble: trouble(5), down: false }, State::Warn, "421 later"),
            (Standing { accepted_ago: None, trouble: trouble(5), down: true }, State::Fail, "421 later"),
        ];
        for (standing, expected, words) in rows {
            let check = deliveries(&standing);
            assert!(check.state == expected && check.seen.contains(words), "{check:?}");
        }
        assert_eq!((span(secs(1)), span(secs(86_400 * 3))), ("1 second".to_owned(), "3 days".to_owned()));
    }
}
