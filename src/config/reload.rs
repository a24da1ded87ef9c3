//! What a SIGHUP changes, and what it cannot: two configs in, two lists out. Pure.

use super::limits::Takes;
use super::{Config, LimitsConfig, OrgConfig, TlsConfig};
use crate::settings::Tracking;
use crate::settings::privacy::Consent;

/// The part of a config that changes while the program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloadable {
    /// The ceiling.
    pub tracking: Tracking,
    /// The organisations of the file.
    pub orgs: Vec<OrgConfig>,
    /// Where the certificate is; its file is read again at every SIGHUP, changed or not.
    pub tls: TlsConfig,
    /// All of them; [`Config::difference`] says which wait for a restart.
    pub limits: LimitsConfig,
}

/// What a new file means for the running program.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// Takes effect now; one line each, e.g. `tracking.opens: individual → off`.
    pub live: Vec<String>,
    /// Waits for a restart; the same.
    pub restart: Vec<String>,
}

impl Config {
    /// The part that changes while the program runs.
    pub fn reloadable(&self) -> Reloadable {
        Reloadable {
            tracking: self.tracking,
            orgs: self.orgs.clone(),
            tls: self.tls.clone(),
            limits: self.limits.clone(),
        }
    }

    /// What changes from this config to a new one, key by key.
    pub fn difference(&self, new: &Config) -> Difference {
        let mut difference = Difference::default();
        self.live_sections(new, &mut difference);
        for ((key, old, takes), (_, new, _)) in self.limits.rows().into_iter().zip(new.limits.rows()) {
            let list = if takes == Takes::Effect { &mut difference.live } else { &mut difference.restart };
            compare(list, &format!("limits.{key}"), &old, &new);
        }
        for ((key, old), (_, new)) in self.spool.rows().into_iter().zip(new.spool.rows()) {
            compare(&mut difference.restart, &format!("spool.{key}"), &old, &new);
        }
        for (section, old, new) in
            [("notify", self.notify.rows(), new.notify.rows()), ("webhooks", self.webhooks.rows(), new.webhooks.rows())]
        {
            for ((key, old), (_, new)) in old.into_iter().zip(new) {
                compare(&mut difference.restart, &format!("{section}.{key}"), &old, &new);
            }
        }
        self.fixed_sections(new, &mut difference.restart);
        difference
    }

    fn live_sections(&self, new: &Config, difference: &mut Difference) {
        let live = &mut difference.live;
        compare(live, "tracking.opens", &self.tracking.opens, &new.tracking.opens);
        compare(live, "tracking.links", &self.tracking.links, &new.tracking.links);
        compare(live, "tracking.text_links", &self.tracking.text_links, &new.tracking.text_links);
        let consent = |config: &Config| config.privacy.consent.map_or("not set", Consent::as_str);
        compare(live, "privacy.consent", consent(self), consent(new));
        compare(live, "privacy.without_consent", &self.privacy.without_consent, &new.privacy.without_consent);
        let factor = |config: &Config| if config.web.admin_second_factor { "required" } else { "optional" };
        compare(live, "web.admin_second_factor", factor(self), factor(new));
        // With or without [acme] the files are others; that waits for a restart.
        if self.acme == new.acme {
            compare(live, "tls.certificate", &self.tls.certificate.display(), &new.tls.certificate.display());
            compare(live, "tls.private_key", &self.tls.private_key.display(), &new.tls.private_key.display());
        }
        for old in &self.orgs {
            match new.orgs.iter().find(|org| org.name == old.name) {
                None => live.push(format!("[[org]] {}: no longer managed by the file", old.name)),
                Some(org) if org.upstream != old.upstream => {
                    live.push(format!("[[org]] {}: changed, with where its mail leaves", old.name));
                }
                Some(org) if org != old => live.push(format!("[[org]] {}: changed", old.name)),
                Some(_) => {}
            }
        }
        let added = new.orgs.iter().filter(|org| self.orgs.iter().all(|old| old.name != org.name));
        live.extend(added.map(|org| format!("[[org]] {}: new", org.name)));
    }

    fn fixed_sections(&self, new: &Config, restart: &mut Vec<String>) {
        compare(restart, "server.hostname", &self.server.hostname, &new.server.hostname);
        compare(restart, "server.data_dir", &self.server.data_dir.display(), &new.server.data_dir.display());
        compare(restart, "tls.reload_secs", &self.tls.reload.as_secs(), &new.tls.reload.as_secs());
        if self.listeners != new.listeners {
            restart.push("[[listener]]: changed".to_owned());
        }
        if self.upstream != new.upstream {
            restart.push("[upstream]: changed".to_owned());
        }
        if self.acme != new.acme {
            restart.push("[acme]: changed".to_owned());
        }
        compare(restart, "web.tls", &self.web.tls, &new.web.tls);
        compare(restart, "web.tracking", &self.web.tracking, &new.web.tracking);
        compare(restart, "web.public_url", &self.web.public_url, &new.web.public_url);
        compare(restart, "web.admin", &self.web.admin, &new.web.admin);
        if self.web.trusted_proxies != new.web.trusted_proxies {
            restart.push("web.trusted_proxies: changed".to_owned());
        }
        if self.geo != new.geo {
            restart.push("[geo]: changed".to_owned());
        }
        if self.dns != new.dns {
            restart.push("[dns]: changed".to_owned());
        }
        if self.verdicts != new.verdicts {
            restart.push("[verdicts]: changed".to_owned());
        }
        compare(restart, "web.proxy_protocol", &self.web.proxy_protocol, &new.web.proxy_protocol);
        if self.web.forwarded_by != new.web.forwarded_by {
            restart.push("web.forwarded_by: changed".to_owned());
        }
        if self.log != new.log {
            restart.push("[log]: changed".to_owned());
        }
    }
}

fn compare<T: std::fmt::Display + ?Sized>(list: &mut Vec<String>, key: &str, old: &T, new: &T) {
    let (old, new) = (old.to_string(), new.to_string());
    if old != new {
        list.push(format!("{key}: {old} → {new}"));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn difference(old: &str, new: &str) -> Difference {
        let parse = |text: &str| {
            Config::parse(&format!("{text}\n[[listener]]\naddr = \"127.0.0.1:0\""), Path::new("/c")).unwrap().config
        };
        parse(old).difference(&parse(new))
    }

    #[test]
    fn each_change_is_named_where_it_takes_effect() {
        let rows: &[(&str, &str, &[&str], &[&str])] = &[
            // Nothing changed, though it is written otherwise.
            ("", "[tracking]\nopens = \"individual\"", &[], &[]),
            // Live: the ceiling, TLS files, organisations, limits of what begins next.
            ("", "[tracking]\nopens = \"off\"", &["tracking.opens: individual → off"], &[]),
            ("", "[privacy]\nconsent = \"required\"", &["privacy.consent: not set → required"], &[]),
            ("", "[tls]\ncertificate = \"b\"", &["tls.certificate: /c/certs/relay.crt → /c/b"], &[]),
            ("", "[[org]]\nname = \"a\"\ndomains = [\"a.example\"]", &["[[org]] a: new"], &[]),
            (
                "[[org]]\nname = \"a\"\ndomains = [\"a.example\"]",
                "",
                &["[[org]] a: no longer managed by the file"],
                &[],
            ),
            (
                "[[org]]\nname = \"a\"\ndomains = [\"a.example\"]",
                "[[org]]\nname = \"a\"\ndomains = [\"b.example\"]",
                &["[[org]] a: changed"],
                &[],
            ),
            (
                "[[org]]\nname = \"a\"\ndomains = [\"a.example\"]",
                "[privacy]\nconsent = \"none\"\n[[org]]\nname = \"a\"\ndomains = [\"a.example\"]\n[org.upstream]\nhost = \"localhost\"",
                &["privacy.consent: not set → none", "[[org]] a: changed, with where its mail leaves"],
                &[],
            ),
            ("", "[web]\nadmin_second_factor = \"required\"", &["web.admin_second_factor: optional → required"], &[]),
            ("", "[limits]\nrecipients_max = 7", &["limits.recipients_max: 100 → 7"], &[]),
            // A restart: sockets, queues, what is opened once.
            ("", "[limits]\nevent_queue_max = 64", &[], &["limits.event_queue_max: 65536 → 64"]),
            ("", "[spool]\nbudget_secs = 5", &[], &["spool.budget_secs: 20 → 5"]),
            (
                "",
                "[spool]\nretry_secs = [1, 2]\nbounce_sender = \"b@x.example\"",
                &[],
                &[
                    "spool.retry_secs: [60, 300, 900, 1800, 3600] → [1, 2]",
                    "spool.bounce_sender: \"\" → \"b@x.example\"",
                ],
            ),
            ("", "[server]\nhostname = \"a.example\"", &[], &["server.hostname: localhost → a.example"]),
            ("", "[web]\nadmin = \"127.0.0.1:1\"", &[], &["web.admin: 127.0.0.1:8026 → 127.0.0.1:1"]),
            ("", "[acme]\ndomains = [\"a.example\"]\nterms_agreed = true", &[], &["[acme]: changed"]),
            ("", "[log]\nformat = \"json\"", &[], &["[log]: changed"]),
            ("", "[geo]\ndatabase = \"g\"", &[], &["[geo]: changed"]),
            ("", "[notify]\nmail_lines_max = 5", &[], &["notify.mail_lines_max: 50 → 5"]),
            ("", "[webhooks]\nallow_private = true", &[], &["webhooks.allow_private: false → true"]),
        ];
        for (old, new, live, restart) in rows {
            let found = difference(old, new);
            assert_eq!(found.live, *live, "{new}");
            assert_eq!(found.restart, *restart, "{new}");
        }
    }
}
