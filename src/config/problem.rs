//! Every way `config.toml` can be wrong, and what to do about each: the only place with these words.
//!
//! **Invariant:** a problem names the key, the line where there is one, what is wrong and how to mend it, and never a secret.

use std::fmt;

use crate::settings::BadLinkPattern;

/// One mistake, or one thing to think about again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the program can run with it.
    pub severity: Severity,
    /// Counted from 1; `None` when it is about something that is not written.
    pub line: Option<u32>,
    /// Section and key, e.g. `upstream.port` or `listener[2].addr` (counted from 1); empty for the file as a whole.
    pub key: String,
    /// What is wrong, with its fix.
    pub wrong: Wrong,
}

/// Whether the program can run with a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It starts; the operator should know.
    Warning,
    /// It does not start.
    Error,
}

impl Problem {
    /// The problem as a line that begins with the file's name, as compilers write it.
    pub fn in_file<'p>(&'p self, file: &'p str) -> impl fmt::Display + 'p {
        fmt::from_fn(move |f| match self.line {
            Some(line) => write!(f, "{file}:{line}: {self}"),
            None => write!(f, "{file}: {self}"),
        })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        self.wrong.fmt(f)
    }
}

/// What is wrong. Each reads as `<fault>; <fix>`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    // The text as such.
    /// Not TOML.
    #[error("not valid TOML: {0}; mend this first, the rest is judged after that")]
    Syntax(String),
    /// No section of ours.
    #[error("there is no such section{}", advice(.hint))]
    UnknownSection {
        /// What it probably should be.
        hint: Option<String>,
    },
    /// No key of ours.
    #[error("there is no such key{}", advice(.hint))]
    UnknownKey {
        /// What it probably should be: `did you mean …`, `it belongs in …`.
        hint: Option<String>,
    },
    /// A key of a feature that this version does not have.
    #[error("not available in this version; remove it")]
    KeyNotAvailable,
    /// A setting that is changed while the program runs.
    #[error("is set in the dashboard or with `waxseal org set`, not here; remove it")]
    LiveSetting,
    /// A value of a feature that this version does not have.
    #[error("\"{given}\" is not available in this version; use {instead}")]
    ValueNotAvailable {
        /// As written.
        given: String,
        /// What works today.
        instead: &'static str,
    },
    /// A value of another type.
    #[error("is {found}, not {expected}; write {example}")]
    Type {
        /// `a string`, `a whole number`, …
        expected: &'static str,
        /// The same for what stands there.
        found: &'static str,
        /// How it looks when right.
        example: String,
    },
    /// A section written once that may be repeated, or the other way round.
    #[error("is written [{0}], but there can be several; write [[{0}]]")]
    NotRepeated(String),
    /// `[[x]]` where there is only one.
    #[error("is written [[{0}]], but there is only one; write [{0}]")]
    Repeated(String),
    /// A key that has no default.
    #[error("is missing; {0}")]
    Missing(&'static str),

    // Single values.
    /// None of the words allowed.
    #[error("\"{given}\" is none of the values; use {}", either(.allowed))]
    Choice {
        /// As written.
        given: String,
        /// The words.
        allowed: Vec<&'static str>,
    },
    /// A number out of its range.
    #[error("{given} is not between {min} and {max}; {usual} is the usual value")]
    Range {
        /// As written.
        given: String,
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
        /// The default.
        usual: u64,
    },
    /// A list with too few or too many elements.
    #[error("has {given} elements; write {min} to {max}")]
    Count {
        /// As written.
        given: usize,
        /// Fewest allowed.
        min: usize,
        /// Most allowed.
        max: usize,
    },
    /// A wait below the one before it.
    #[error("goes back from {before} to {after}; write the waits in order, the shortest first")]
    Shrinks {
        /// The one before.
        before: u64,
        /// The lower one behind it.
        after: u64,
    },
    /// Not a port.
    #[error("{0} is not a port; use 1 to 65535, usually 587")]
    Port(String),
    /// Not `IP:port`.
    #[error("\"{0}\" is not an address to listen on; write IP:port, as \"127.0.0.1:2525\" or \"[::]:25\"")]
    Address(String),
    /// Not the address of a name server.
    #[error("\"{0}\" is not the address of a name server; write it as \"192.0.2.53\" or \"[2001:db8::53]:5353\"")]
    NameServer(String),
    /// Not a network.
    #[error("\"{0}\" is not a network; write it as \"192.0.2.0/24\", \"192.0.2.7\" or \"2001:db8::/32\"")]
    Network(String),
    /// Bits are set behind the prefix.
    #[error("\"{given}\" has bits set behind its prefix; write \"{meant}\", or the one address without a prefix")]
    HostBits {
        /// As written.
        given: String,
        /// With them cleared.
        meant: String,
    },
    /// A whole part of the internet may submit without a login.
    #[error("{0} lets strangers send without a login, which makes an open relay; name your own networks only")]
    OpenRelay(String),
    /// Every reader would be the organisation's own.
    #[error("{0} makes every reader one of your own people; name your own networks only")]
    OwnsEverything(String),
    /// No line of the list of agents.
    #[error("\"{0}\" is no line of the list; write opens, clicks or both and a name, as \"clicks acme-link-checker\"")]
    AgentLine(String),
    /// No line of the list of networks.
    #[error(
        "\"{0}\" is no line of the list; write opens, clicks, both, people, relay or hosting and a network, as \"both 192.0.2.0/24\""
    )]
    NetworkLine(String),
    /// Nobody may speak the PROXY protocol.
    #[error("is on, but nobody may speak it; name the proxies in trusted_proxies")]
    ProxyProtocolOfNobody,
    /// Strangers could claim any address.
    #[error("{0} lets strangers claim any address by a PROXY header; name the proxies' own addresses")]
    ProxiesEverywhere(String),
    /// Not a domain.
    #[error("\"{0}\" is not a domain; write a name such as \"example.com\", without \"@\", \"*\" or a path")]
    Domain(String),
    /// Not a mail address.
    #[error("\"{0}\" is not a mail address; write one such as \"bounces@example.com\", or \"\" for <>")]
    Mailbox(String),
    /// Neither a name nor an address.
    #[error("\"{0}\" is not a host; write a name or an IP address, without scheme and port")]
    Host(String),
    /// Not `http://host` or `https://host`.
    #[error("\"{given}\" {fault}; write it as \"https://t.example.com\"")]
    Url {
        /// As written.
        given: String,
        /// Which part is not as it must be.
        fault: &'static str,
    },
    /// Not an organisation's name.
    #[error("\"{0}\" is not a name for an organisation; use 1 to 63 of a-z, 0-9 and -, not at the ends")]
    OrgName(String),
    /// Text that must not be empty or hold control characters.
    #[error("is empty or holds a control character; {0}")]
    Text(&'static str),

    /// No address and no domain.
    #[error("\"{0}\" is no recipient; write an address, as \"press@example.net\", or a domain, as \"example.net\"")]
    Recipient(String),
    /// No pattern of links.
    #[error("\"{given}\" is no pattern of links: {why}")]
    LinkPattern {
        /// As written.
        given: String,
        /// What is wrong with it.
        why: BadLinkPattern,
    },
    /// A list that is too long.
    #[error("has {given} entries; at most {most} are taken")]
    TooMany {
        /// How many.
        given: usize,
        /// How many may be.
        most: usize,
    },

    // What does not go together.
    /// The record would be due before the client's wait is over.
    #[error("must be more than budget_secs, which is {budget_secs}; raise it, or lower budget_secs")]
    NotAfterBudget {
        /// As in force.
        budget_secs: u64,
    },
    /// The same address twice, or a wildcard that covers it.
    #[error("{addr} is taken by {other}; give each its own port")]
    AddressClash {
        /// This one.
        addr: String,
        /// The key of the other.
        other: String,
    },
    /// Trusted networks without saying for whom.
    #[error("is missing beside networks; say for which organisation they send, as org = \"default\"")]
    NetworksWithoutOrg,
    /// An organisation without networks does nothing here.
    #[error("does nothing without networks (a login brings its own organisation); remove it or add networks")]
    OrgWithoutNetworks,
    /// The name stands in no `[[org]]`.
    #[error("no [[org]] is named \"{0}\"; add one with that name, or name another")]
    NoSuchOrg(String),
    /// Nobody could submit.
    #[error(
        "a login is never taken in clear from another machine, so nobody could send here; use tls = \"starttls\" or \"implicit\", or add networks"
    )]
    NoLoginPossible,
    /// Only the trusted networks can submit.
    #[error(
        "a login is never taken in clear from another machine, so only the networks can send here; use tls = \"starttls\" to allow logins"
    )]
    OnlyNetworks,
    /// Said twice.
    #[error("\"{given}\" stands here and in {other}; {fix}")]
    Duplicate {
        /// The value.
        given: String,
        /// The key that has it already.
        other: String,
        /// What to do.
        fix: &'static str,
    },
    /// An organisation asks for more than `[tracking]` allows.
    #[error("{given} is above the ceiling: {ceiling_key} is {ceiling}; lower this, or raise the ceiling")]
    AboveCeiling {
        /// As written.
        given: String,
        /// What `[tracking]` says.
        ceiling: String,
        /// Which key of it.
        ceiling_key: &'static str,
    },
    /// Text links follow links.
    #[error("does nothing while links = \"off\"; set links, or text_links = false")]
    TextLinksWithoutLinks,
    /// A key of the other mode.
    #[error("has no effect while upstream.mode = \"inbox\"; remove it, or set mode = \"smtp\"")]
    UnusedInInbox,
    /// A login half given.
    #[error(
        "does nothing with upstream.auth = \"{auth}\"; set auth to what it belongs to (\"login\", \"oauth\"), or remove it"
    )]
    UnusedWithoutLogin {
        /// As in force.
        auth: &'static str,
    },
    /// A login whose password is not in a file.
    #[error(
        "is not written, so the password must be in the settings store: while waxseal runs, `waxseal org upstream-password NAME`; without it the organisation's mail is held"
    )]
    PasswordElsewhere,
    /// Mail that nobody's login could carry on.
    #[error(
        "with upstream.auth = \"passthrough\" mail goes on with the client's own login, and who comes from these networks has none; remove networks and org"
    )]
    NetworksWithoutLogin,
    /// Nobody's login but our own.
    #[error("seals the logins of clients, of which there are none without auth = \"passthrough\"; remove it")]
    NothingToSeal,
    /// Users are made by logging in upstream only.
    #[error("does nothing without upstream.auth = \"passthrough\"; remove it")]
    CreateUsersWithoutPassthrough,
    /// The password would cross the network readable.
    #[error(
        "with tls = \"{tls}\" the password could cross the network readable; use tls = \"starttls\" or \"implicit\" (only a host on this machine may do without)"
    )]
    PasswordInClear {
        /// As in force.
        tls: &'static str,
    },
    /// Mail in clear to another machine.
    #[error("sends every mail readable over the network; use tls = \"starttls\" or \"implicit\" if the server has it")]
    MailInClear,
    /// 465 speaks TLS at once, 587 does not.
    #[error("port {port} is for tls = \"{usual}\"; change one of the two if the server does not answer")]
    UnusualPort {
        /// As in force.
        port: u16,
        /// What goes with it.
        usual: &'static str,
    },
    /// `ca_file` with a mode that does not verify.
    #[error("has no effect with tls = \"{tls}\", which verifies nothing; use tls = \"starttls\" or \"implicit\"")]
    UnusedCaFile {
        /// As in force.
        tls: &'static str,
    },
    /// Consent was not decided.
    #[error(
        "is not set, and with upstream.mode = \"smtp\" real people are tracked; set privacy.consent = \"none\" to say that you may track them without asking, or \"required\" to track only who has agreed, or set tracking.opens and tracking.links to \"off\""
    )]
    ConsentNotSet,
    /// `localhost` towards the world.
    #[error(
        "\"{0}\" names this machine to upstream and in every mail, and many servers refuse it; set the full name, as \"relay.example.com\""
    )]
    LocalHostname(String),
    /// Recipients cannot fetch from loopback.
    #[error(
        "{0} cannot be reached by a recipient, so nothing would be recorded and links would break; set the address the world sees"
    )]
    LocalPublicUrl(String),
    /// Tracking over http.
    #[error(
        "{0} is not https: mail clients warn of such links or refuse such pictures; put a TLS proxy in front and write https"
    )]
    PlainPublicUrl(String),
    /// TLS that nobody is told of.
    #[error("is of no use while web.public_url is not https; write the address that begins with https://")]
    TlsWithoutHttps,
    /// Two owners of one certificate.
    #[error(
        "stands beside [acme], which orders the certificate and keeps it in data_dir; remove this and private_key, or [acme]"
    )]
    CertificateBesideAcme,
    /// A name that no CA gives a certificate for over http-01.
    #[error("\"{0}\" can get no certificate here; write a full host name, as \"relay.example.com\"")]
    NotForAcme(String),
    /// No mail address.
    #[error("\"{0}\" is no mail address; write one, as \"postmaster@example.com\"")]
    NoAddress(String),
    /// No place of a CA.
    #[error("\"{0}\" is no directory URL; write the CA's, which begins with https:// (http:// only on this machine)")]
    AcmeDirectory(String),
    /// The CA's questions would find nobody.
    #[error(
        "is missing: the CA asks over plain HTTP on port 80, and the tracking site speaks TLS (web.tls); write listen = \"0.0.0.0:80\""
    )]
    AcmeUnanswered,
    /// The CA's questions would find nobody, over TLS.
    #[error(
        "asks the tracking site over TLS, which it does not speak; write tls = true in [web], or challenge = \"http-01\""
    )]
    AcmeNeedsTls,
    /// A certificate for nothing.
    #[error("orders a certificate that nothing shows; set tls of a [[listener]] or of [web], or remove [acme]")]
    AcmeForNobody,
    /// What the running server wrote down.
    #[error("the order of {date} failed; next try {next}: {detail}")]
    AcmeFailed {
        /// When.
        date: String,
        /// The CA's words.
        detail: String,
        /// When again.
        next: String,
    },
    /// Dashboard in clear.
    #[error(
        "{0} offers the dashboard's login in clear to the network; listen on 127.0.0.1 and put a TLS proxy in front"
    )]
    AdminInClear(String),
    /// Believing everyone's X-Forwarded-For.
    #[error("{0} believes X-Forwarded-For from anyone; name the proxies' own addresses")]
    TrustsEveryone(String),

    // What the machine says (`waxseal check`).
    /// A file that must be there.
    #[error("{path} is not there; {fix}")]
    FileMissing {
        /// Absolute.
        path: String,
        /// What to do.
        fix: &'static str,
    },
    /// A file that cannot be read.
    #[error("{path} cannot be read ({detail}); {fix}")]
    FileUnreadable {
        /// Absolute.
        path: String,
        /// The system's words.
        detail: String,
        /// What to do.
        fix: &'static str,
    },
    /// Others on this machine can read a secret.
    #[error("{path} has mode {mode:04o}, so others on this machine can reach it; run: chmod {wanted:o} {path}")]
    TooOpen {
        /// Absolute.
        path: String,
        /// As it is.
        mode: u32,
        /// As it should be.
        wanted: u32,
    },
    /// A folder in which we cannot write.
    #[error("{path} cannot be written ({detail}); give it to the user that runs waxseal")]
    NotWritable {
        /// Absolute.
        path: String,
        /// The system's words.
        detail: String,
    },
    /// The certificate file holds none.
    #[error("{path} holds no usable certificate ({detail}); it must be PEM, the server's own certificate first")]
    NoCertificate {
        /// Absolute.
        path: String,
        /// Why.
        detail: String,
    },
    /// The key file holds none, or not the certificate's.
    #[error(
        "{path} holds no key that fits the certificate ({detail}); it must be the PEM key the certificate was made with"
    )]
    KeyMismatch {
        /// Absolute.
        path: String,
        /// Why.
        detail: String,
    },
    /// Too late.
    #[error("{path} expired on {date}; renew it")]
    CertificateExpired {
        /// Absolute.
        path: String,
        /// `2026-01-31`
        date: String,
    },
    /// Soon too late.
    #[error("{path} expires on {date}, in {days} days; renew it")]
    CertificateExpiresSoon {
        /// Absolute.
        path: String,
        /// `2026-01-31`
        date: String,
        /// Whole days left.
        days: i64,
    },
    /// Too early.
    #[error("{path} is not valid before {date}; look at the clock of this machine")]
    CertificateNotYet {
        /// Absolute.
        path: String,
        /// `2026-01-31`
        date: String,
    },
    /// For another name.
    #[error(
        "{path} is not for {hostname} (server.hostname), so mail clients that verify will refuse it; use one that names it"
    )]
    CertificateName {
        /// Absolute.
        path: String,
        /// What clients connect to.
        hostname: String,
    },
    /// The upstream server does not answer.
    #[error("{address} does not answer ({detail}); look at host, port and firewall. {until}")]
    Unreachable {
        /// `host:port`
        address: String,
        /// The system's words.
        detail: String,
        /// What happens until it does.
        until: Until,
    },
    /// Another program, or a waxseal that runs already.
    #[error("{0} is in use; unless waxseal is running already, another program has it: choose another port")]
    AddressInUse(String),
    /// A port below 1024.
    #[error("{0} may not be listened on by this user; use a port above 1023, or give waxseal CAP_NET_BIND_SERVICE")]
    PortNeedsRoot(String),
    /// No such address on this machine, or the like.
    #[error("{addr} cannot be listened on ({detail}); use an address of this machine")]
    CannotListen {
        /// This one.
        addr: String,
        /// The system's words.
        detail: String,
    },
}

/// What happens while a server does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Mail is taken and tried again.
    Waits,
    /// Nobody can log in, so nothing is taken: the logins are upstream's.
    Refused,
    /// There is no new certificate.
    NoCertificate,
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Until::Waits => "Mail is taken and waits in the spool until it does",
            Until::Refused => "Mail would be refused with 451 until it does",
            Until::NoCertificate => "There is no new certificate until it does",
        })
    }
}

/// `; did you mean "x"?`, or the plain advice.
fn advice(hint: &Option<String>) -> String {
    match hint {
        Some(words) => format!("; {words}"),
        None => "; remove it (config.toml as shipped holds every key)".to_owned(),
    }
}

/// `"a", "b" or "c"`.
fn either(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_like_a_compilers() {
        let rows = [
            // Key, line, fault and fix, in that order.
            (
                Problem {
                    severity: Severity::Error,
                    line: Some(12),
                    key: "upstream.port".into(),
                    wrong: Wrong::Port("99999".into()),
                },
                "config.toml:12: upstream.port: 99999 is not a port; use 1 to 65535, usually 587",
            ),
            // What is not written has no line; a warning says that it is one.
            (
                Problem {
                    severity: Severity::Warning,
                    line: None,
                    key: "web.public_url".into(),
                    wrong: Wrong::PlainPublicUrl("http://t.example.com".into()),
                },
                "config.toml: warning: web.public_url: http://t.example.com is not https: mail clients warn of such links \
                 or refuse such pictures; put a TLS proxy in front and write https",
            ),
        ];
        for (problem, expected) in rows {
            assert_eq!(problem.in_file("config.toml").to_string(), expected);
        }
    }

    #[test]
    fn words_are_listed_as_people_do() {
        assert_eq!(either(&["a"]), "\"a\"");
        assert_eq!(either(&["a", "b"]), "\"a\" or \"b\"");
        assert_eq!(either(&["a", "b", "c"]), "\"a\", \"b\" or \"c\"");
    }
}
