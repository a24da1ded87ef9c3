//! `waxseal check`: one report on the config and the machine around it.
//!
//! It changes nothing, and it is what `waxseal serve` relies on: a report that is ok is a start that works.

use std::fmt;
use std::path::Path;

use jiff::Timestamp;

use super::load::{self, Source};
use super::machine;
use super::problem::{Problem, Severity};
use super::{Config, UpstreamAuth, UpstreamConfig};

/// What `waxseal check` has found. Prints as a line for each problem and a last line that sums up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The file's name for people.
    file: String,
    /// In the order of their lines.
    problems: Vec<Problem>,
    /// What a start would do; only with a config that is right.
    plan: Vec<String>,
}

impl Report {
    /// Whether `waxseal serve` would start.
    pub fn is_ok(&self) -> bool {
        self.count(Severity::Error) == 0
    }

    /// Every problem, in the order of their lines.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for problem in &self.problems {
            writeln!(f, "{}", problem.in_file(&self.file))?;
        }
        let (errors, warnings) = (self.count(Severity::Error), self.count(Severity::Warning));
        let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
        if errors > 0 {
            return writeln!(f, "{}, {}", plural(errors, "error"), plural(warnings, "warning"));
        }
        match warnings {
            0 => writeln!(f, "config ok: {}", self.file)?,
            _ => writeln!(f, "config ok: {}, with {}", self.file, plural(warnings, "warning"))?,
        }
        self.plan.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Reads the config (as [`Source::fetch`] finds it) and looks at everything it names. Takes up to five seconds when upstream is silent.
pub fn run(path: Option<&Path>) -> Report {
    let source = match Source::fetch(path) {
        Ok(source) => source,
        Err(problem) => {
            let file = path.map_or_else(|| load::FILE_NAME.to_owned(), |path| path.display().to_string());
            return Report { file, problems: vec![problem], plan: Vec::new() };
        }
    };
    match source.parse() {
        Err(problems) => Report { file: source.name, problems, plan: Vec::new() },
        Ok(parsed) => {
            let plan = plan(&parsed.config);
            let mut problems = parsed.warnings.clone();
            problems.extend(machine::look(&parsed, Timestamp::now()));
            problems.sort_by_key(|problem| problem.line.unwrap_or(u32::MAX));
            Report { file: source.name, problems, plan }
        }
    }
}

/// What a start would do, in words.
fn plan(config: &Config) -> Vec<String> {
    let listeners = config.listeners.iter().map(|listener| {
        let others = match &listener.org {
            Some(org) => format!("; {} networks without, for {org}", listener.networks.len()),
            None => String::new(),
        };
        format!("mail clients: {} ({}), with a login{others}", listener.addr, listener.tls.as_str())
    });
    let upstream = match &config.upstream {
        UpstreamConfig::Inbox => "mail goes to: the built-in inbox; nothing leaves this machine".to_owned(),
        UpstreamConfig::Smtp(smtp) => {
            let login = if smtp.auth == UpstreamAuth::None { "without a login" } else { "with a login" };
            format!("mail goes to: {}:{} ({}), {login}", smtp.host, smtp.port, smtp.tls.as_str())
        }
    };
    let own = config.orgs.iter().filter_map(|org| {
        let smtp = org.upstream.as_ref()?;
        Some(format!("mail of {} goes to: {}:{} ({})", org.name, smtp.host, smtp.port, smtp.tls.as_str()))
    });
    let ordered = config
        .acme
        .as_ref()
        .map(|acme| format!("certificate: ordered from {} for {}", acme.server().0, acme.domains.join(", ")));
    let tracking = &config.tracking;
    let rest = [
        format!(
            "tracking: opens {}, links {}, at most; seen at {}",
            tracking.opens, tracking.links, config.web.public_url
        ),
        format!("dashboard: http://{}", config.web.admin),
        format!("data: {}", config.server.data_dir.display()),
    ];
    let wide = config.webhooks.allow_private;
    let wide = wide.then(|| "webhooks: also on this machine and in private networks (allow_private)".to_owned());
    let servers: Vec<String> = config.dns.servers.iter().map(ToString::to_string).collect();
    let dns = (!servers.is_empty()).then(|| format!("waxseal doctor asks the DNS at {}", servers.join(", ")));
    listeners.chain([upstream]).chain(own).chain(rest).chain(ordered).chain(wide).chain(dns).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const PORTS: &str =
        "[web]\ntracking = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n[[listener]]\naddr = \"127.0.0.1:0\"\n";

    /// The report on a file of this text, alone in a folder.
    fn report(text: &str) -> (tempfile::TempDir, Report) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, text).unwrap();
        let report = run(Some(&path));
        (folder, report)
    }

    #[test]
    fn a_fresh_folder_is_fine_and_stays_untouched() {
        let (folder, report) = report(PORTS);
        assert!(report.is_ok(), "{report}");
        let text = report.to_string();
        assert!(text.starts_with("config ok: "), "{text}");
        assert!(text.contains("the built-in inbox"), "{text}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a check makes nothing");
    }

    #[test]
    fn name_servers_are_told() {
        let (_folder, report) = report(&format!("{PORTS}[dns]\nservers = [\"192.0.2.53\", \"[::1]:5353\"]\n"));
        assert!(report.to_string().contains("asks the DNS at 192.0.2.53:53, [::1]:5353"), "{report}");
    }

    #[test]
    fn a_bad_file_is_counted_and_has_no_plan() {
        let (folder, bad) =
            report("[web]\nadmin = 1\n[server]\nhostname = \"?\"\n[[listener]]\naddr = \"127.0.0.1:0\"\norg = \"a\"\n");
        assert!(!bad.is_ok());
        let text = bad.to_string();
        assert!(text.ends_with("2 errors, 1 warning\n"), "{text}");
        assert!(text.contains("config.toml:2: web.admin: is a whole number"), "{text}");
        assert!(!text.contains("mail goes to"), "{text}");
        let report = run(Some(&folder.path().join("other.toml")));
        assert!(report.to_string().contains("is not there"), "{report}");
    }
}
