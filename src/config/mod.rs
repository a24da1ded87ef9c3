//! `config.toml` → [`Config`], or every problem in it.
//!
//! Reading and judging are pure ([`Config::parse`]: text in, value or problems out); [`load`] fetches the file and [`check`] looks at
//! the machine around it. A section is a file here: it asks [`file`] for its keys and makes values the program can rely on.
//!
//! **Invariant:** a `Config` exists only when nothing in its file is wrong, unknown or contradictory.

pub mod acme;
pub mod check;
mod contradictions;
mod dns;
mod file;
pub mod first_run;
mod keeping;
pub mod limits;
pub mod listener;
pub mod load;
mod log;
mod machine;
pub mod notify;
pub mod org;
mod org_tracking;
pub mod privacy;
pub mod problem;
pub mod reload;
pub mod server;
pub mod spool;
mod unknown;
pub mod upstream;
mod values;
mod verdicts;
pub mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use acme::AcmeConfig;
pub use dns::DnsConfig;
pub use keeping::OrgEvents;
pub use limits::LimitsConfig;
pub use listener::{ListenerConfig, ListenerTls};
pub use notify::{NotifyConfig, WebhooksConfig};
pub use org::OrgConfig;
pub use privacy::{GeoConfig, PrivacyConfig};
pub use problem::{Problem, Severity};
pub use server::{ServerConfig, TlsConfig};
pub use spool::SpoolConfig;
pub use upstream::{SmtpUpstream, UpstreamAuth, UpstreamConfig, UpstreamTls};
pub use values::BaseUrl;
pub use verdicts::VerdictsConfig;
pub use web::{ForwardedBy, WebConfig};

use crate::settings::{OrgName, Tracking};
use contradictions::Shown;
use file::{File, Read};

/// The file that is shipped, and in force where no other is named or found.
pub const SHIPPED: &str = include_str!("../../config.toml");

/// What the program relies on: every value valid by itself and beside the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `[server]`
    pub server: ServerConfig,
    /// `[[listener]]`; at least one, no two on one address.
    pub listeners: Vec<ListenerConfig>,
    /// `[tls]`
    pub tls: TlsConfig,
    /// `[acme]`: the certificate is ordered.
    pub acme: Option<AcmeConfig>,
    /// `[upstream]`
    pub upstream: UpstreamConfig,
    /// `[web]`
    pub web: WebConfig,
    /// `[tracking]`: the ceiling.
    pub tracking: Tracking,
    /// `[limits]`
    pub limits: LimitsConfig,
    /// `[spool]`
    pub spool: SpoolConfig,
    /// `[notify]`
    pub notify: NotifyConfig,
    /// `[webhooks]`
    pub webhooks: WebhooksConfig,
    /// `[privacy]`
    pub privacy: PrivacyConfig,
    /// `[geo]`
    pub geo: GeoConfig,
    /// `[verdicts]`
    pub verdicts: VerdictsConfig,
    /// `[dns]`
    pub dns: DnsConfig,
    /// `[log]`
    pub log: crate::telemetry::log::Options,
    /// `[[org]]`; names, domains and tracking hosts are each used once.
    pub orgs: Vec<OrgConfig>,
}

/// A config with what is worth saying about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// In force.
    pub config: Config,
    /// Only warnings.
    pub warnings: Vec<Problem>,
    /// Line of every key that is written, e.g. `listener[2].addr`.
    pub lines: BTreeMap<String, u32>,
}

impl Config {
    /// Reads and judges a config file's text; relative paths start at `base_dir`. No I/O.
    ///
    /// # Errors
    /// Every problem, warnings among them, in the order of their lines. At least one is an error.
    pub fn parse(text: &str, base_dir: &Path) -> Result<Parsed, Vec<Problem>> {
        let file = File::parse(text)?;
        let config = Config::read(&file, base_dir);
        let Read { problems, lines, .. } = file.finish();
        match config {
            Some(config) if problems.iter().all(|problem| problem.severity == Severity::Warning) => {
                Ok(Parsed { config, warnings: problems, lines })
            }
            _ => Err(problems),
        }
    }

    /// Whether anybody is shown a certificate.
    pub fn shows_certificate(&self) -> bool {
        self.web.tls || self.listeners.iter().any(|listener| listener.tls != ListenerTls::None)
    }

    /// Where the mail of an organisation leaves.
    pub fn upstream_of(&self, org: &OrgName) -> UpstreamConfig {
        let own = self.orgs.iter().find(|known| known.name == *org).and_then(|org| org.upstream.clone());
        own.map_or_else(|| self.upstream.clone(), UpstreamConfig::Smtp)
    }

    /// Every upstream that is a real server, with its shown section: `upstream`, `org[2].upstream`.
    pub fn servers(&self) -> Vec<(String, &SmtpUpstream)> {
        let server = match &self.upstream {
            UpstreamConfig::Smtp(smtp) => Some(("upstream".to_owned(), smtp)),
            UpstreamConfig::Inbox => None,
        };
        let own = (1..).zip(&self.orgs).filter_map(|(number, org): (usize, _)| {
            org.upstream.as_ref().map(|smtp| (format!("org[{number}].upstream"), smtp))
        });
        server.into_iter().chain(own).collect()
    }

    /// Whether clients of any organisation log in upstream as themselves.
    pub fn any_passthrough(&self) -> bool {
        self.servers().iter().any(|(_, smtp)| smtp.auth == UpstreamAuth::Passthrough)
    }

    /// Every key the program knows, as `section.key`, and every section.
    pub fn known_keys() -> BTreeSet<String> {
        let Ok(file) = File::parse("[[listener]]\n[[org]]") else { return BTreeSet::new() };
        Config::read(&file, Path::new(""));
        file.finish().known
    }

    /// Asks for every section, even when an earlier one is wrong, so that one run tells all.
    fn read(file: &File<'_>, base_dir: &Path) -> Option<Config> {
        let server = ServerConfig::read(file, base_dir);
        let (shown_listeners, listeners) = ListenerConfig::read_all(file).into_iter().unzip();
        let mut tls = TlsConfig::read(file, base_dir);
        let acme = AcmeConfig::read(file, base_dir, &server.data_dir);
        if let Some(acme) = &acme {
            acme.takes_over(file, &mut tls);
        }
        let upstream = UpstreamConfig::read(file, base_dir);
        let web = WebConfig::read(file);
        let tracking = org::read_ceiling(file);
        let limits = LimitsConfig::read(file);
        let spool = SpoolConfig::read(file);
        let notify = NotifyConfig::read(file);
        let webhooks = WebhooksConfig::read(file, base_dir);
        let privacy = PrivacyConfig::read(file);
        let geo = GeoConfig::read(file, base_dir);
        let verdicts = VerdictsConfig::read(file);
        let dns = DnsConfig::read(file);
        let log = log::read(file);
        let (shown_orgs, orgs) = OrgConfig::read_all(file, base_dir, tracking, &privacy).into_iter().unzip();
        let config = Config {
            server,
            listeners,
            tls,
            acme,
            upstream: upstream?,
            web: web?,
            tracking,
            limits,
            spool,
            notify,
            webhooks,
            privacy,
            geo,
            verdicts,
            dns,
            log,
            orgs,
        };
        contradictions::find(file, &config, &Shown { listeners: shown_listeners, orgs: shown_orgs });
        Some(config)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::settings::Mode;

    fn parse(text: &str) -> Result<Parsed, Vec<String>> {
        let told = |problems: Vec<Problem>| problems.iter().map(|problem| problem.in_file("c").to_string()).collect();
        Config::parse(text, Path::new("/etc/waxseal")).map_err(told)
    }

    #[test]
    fn the_shipped_file_is_right_and_says_the_defaults() {
        let shipped = parse(SHIPPED).unwrap();
        assert_eq!(shipped.warnings, []);
        assert_eq!(shipped.config.limits, LimitsConfig::default(), "a default in [limits] differs from the program's");
        assert_eq!(shipped.config.spool, SpoolConfig::default(), "a default in [spool] differs from the program's");
        assert_eq!(shipped.config.notify, NotifyConfig::default(), "a default in [notify] differs from the program's");
        assert_eq!(shipped.config.webhooks, WebhooksConfig::default(), "a default in [webhooks] differs");
        assert_eq!(shipped.config.tracking, parse("[[listener]]\naddr = \"127.0.0.1:0\"").unwrap().config.tracking);
        assert_eq!(shipped.config.log, crate::telemetry::log::Options::default());
        assert_eq!(shipped.config.server.data_dir, PathBuf::from("/etc/waxseal/data"));
        assert!(shipped.config.tls.may_generate);
        assert_eq!(shipped.config.listeners.len(), 2);
        assert_eq!(shipped.lines.get("server.hostname"), Some(&7));
    }

    /// A key that stands in no file cannot be found by an operator; one that is commented out must be right as it stands.
    #[test]
    fn the_shipped_file_holds_every_key() {
        let keys = Config::known_keys();
        assert!(keys.len() > 80, "{keys:?}");
        let mut section = String::new();
        let mut written = BTreeSet::new();
        for line in SHIPPED.lines() {
            let line = line.strip_prefix("# ").unwrap_or(line);
            if let Some(name) = line.strip_prefix('[') {
                section = name.trim_start_matches('[').split(']').next().unwrap().to_owned();
                written.insert(section.clone());
            } else if let Some((key, _)) = line.split_once('=') {
                written.insert(format!("{section}.{}", key.trim()));
            }
        }
        let missing: Vec<&String> = keys.difference(&written).collect();
        assert_eq!(missing, Vec::<&String>::new(), "config.toml lacks these keys");
    }

    #[test]
    fn the_shipped_file_is_right_with_every_key_in_use() {
        let is_key = |text: &str| text.trim_end().bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let in_use = |line: &str| match line.strip_prefix("# ") {
            Some(section) if section.starts_with('[') => section.to_owned(),
            Some(rest) if rest.split_once('=').is_some_and(|(key, _)| is_key(key)) => rest.to_owned(),
            _ => line.to_owned(),
        };
        // The one key that belongs to another kind of login than those beside it.
        let others = |line: &&str| !line.starts_with("# token_command");
        let text: Vec<String> = SHIPPED.lines().filter(others).map(in_use).collect();
        let text = text.join("\n").replace("mode = \"inbox\"", "mode = \"smtp\"");
        let text = text.replace("public_url = \"http://127.0.0.1:8025\"", "public_url = \"https://relay.example.com\"");
        let text = text.replace("hostname = \"localhost\"", "hostname = \"relay.example.com\"");
        let parsed = parse(&text).unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
        assert_eq!(parsed.warnings, []);
        assert!(parsed.lines.contains_key("upstream.ca_file"), "nothing was uncommented");
        let UpstreamConfig::Smtp(upstream) = parsed.config.upstream else { panic!("not smtp") };
        assert_eq!(upstream.port, 587);
        assert_eq!(upstream.messages_per_minute, Some(30));
        assert_eq!(upstream.ca_file, Some(PathBuf::from("/etc/waxseal/certs/upstream-ca.pem")));
        assert_eq!(parsed.config.orgs[0].choice.opens, Some(Mode::Individual));
    }

    proptest::proptest! {
        /// Any slip in a real file is answered: with a config, or with at least one error that says why not.
        #[test]
        fn every_file_is_answered(
            slips in proptest::collection::vec((0usize..SHIPPED.len(), "[\\[\\]=\"#.\\n a-z0-9é-]{0,4}", 0usize..12), 1..6),
        ) {
            let text = slips.iter().fold(SHIPPED.replace("\n# ", "\n"), |text, (at, put, cut)| {
                let (before, after): (String, String) =
                    (text.chars().take(*at).collect(), text.chars().skip(at + cut).collect());
                format!("{before}{put}{after}")
            });
            answered(&text);
        }

        #[test]
        fn any_text_is_answered(text in ".{0,200}") {
            answered(&text);
        }
    }

    fn answered(text: &str) {
        match Config::parse(text, Path::new("/c")) {
            Ok(parsed) => assert!(parsed.warnings.iter().all(|problem| problem.severity == Severity::Warning)),
            Err(problems) => assert!(problems.iter().any(|problem| problem.severity == Severity::Error), "{text}"),
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_overflows_nothing() {
        for text in
            [format!("a = {}", "[".repeat(200_000)), format!("a = {}", "{b=".repeat(200_000)), "[a.".repeat(50_000)]
        {
            answered(&text);
        }
    }
}
