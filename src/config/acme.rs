//! `[acme]`: certificates that waxseal orders and renews by itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::file::File;
use super::problem::{Severity, Wrong};
use super::{TlsConfig, server, values};
use crate::acme;

/// The CA most use; free, and its terms are at letsencrypt.org.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// What Let's Encrypt puts into one certificate.
const DOMAINS_MAX: usize = 100;
/// In the data folder.
const FOLDER: &str = "acme";

const PROOFS: &[(&str, acme::Proof)] = &[("http-01", acme::Proof::Http01), ("tls-alpn-01", acme::Proof::TlsAlpn01)];

/// `[acme]`, when it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeConfig {
    /// The names in the certificate; never empty.
    pub domains: Vec<String>,
    /// Where the CA writes to.
    pub contacts: Vec<String>,
    /// `https`, but for a CA on this machine.
    pub directory: String,
    /// Roots to trust for the CA's own server instead of the system's; PEM.
    pub ca_file: Option<PathBuf>,
    /// How the CA sees that the names are ours.
    pub proof: acme::Proof,
    /// A door of its own for the CA's questions; else the tracking site answers them.
    pub listen: Option<SocketAddr>,
    /// Where account, certificate and status are kept.
    pub folder: PathBuf,
}

impl AcmeConfig {
    /// `None` when the section is not written, or wrong; the problems are noted.
    pub(super) fn read(file: &File<'_>, base_dir: &Path, data_dir: &Path) -> Option<AcmeConfig> {
        let is_written = file.has("acme");
        let section = file.section("acme");
        let domains = section.list("domains", "\"relay.example.com\"", name);
        let contacts = section.list("contacts", "\"postmaster@example.com\"", contact).unwrap_or_default();
        let terms_agreed = section.flag("terms_agreed");
        let directory = section.parsed("directory", &format!("\"{DIRECTORY}\""), directory);
        let ca_file = section.parsed("ca_file", "\"certs/ca.pem\"", |text| server::path(base_dir, text));
        let proof = section.choice("challenge", PROOFS).unwrap_or_default();
        let listen = section.parsed("listen", "\"0.0.0.0:80\"", values::socket_addr);
        if is_written && (!section.has("domains") || domains.as_ref().is_some_and(Vec::is_empty)) {
            section.wrong("domains", Wrong::Missing("say for which names, as domains = [\"relay.example.com\"]"));
        }
        if let Some(many) = domains.as_ref().filter(|domains| domains.len() > DOMAINS_MAX) {
            let given = many.len().to_string();
            section.wrong("domains", Wrong::Range { given, min: 1, max: DOMAINS_MAX as u64, usual: 2 });
        }
        if is_written && terms_agreed != Some(true) && (terms_agreed.is_some() || !section.has("terms_agreed")) {
            section
                .wrong("terms_agreed", Wrong::Missing("read the CA's terms of service and write terms_agreed = true"));
        }
        let has_directory = section.has("directory");
        section.finish();
        let directory = if has_directory { directory? } else { DIRECTORY.to_owned() };
        let folder = data_dir.join(FOLDER);
        is_written.then_some(AcmeConfig { domains: domains?, contacts, directory, ca_file, proof, listen, folder })
    }

    /// Host and port of the CA's server.
    pub(super) fn server(&self) -> (String, u16) {
        let uri: hyper::Uri = self.directory.parse().unwrap_or_default();
        let port = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        (uri.host().unwrap_or_default().to_owned(), uri.port_u16().unwrap_or(port))
    }

    /// The certificate's place is the CA's: one file for it and its key, which the first start may fill with a self-signed one.
    pub(super) fn takes_over(&self, file: &File<'_>, tls: &mut TlsConfig) {
        if !tls.may_generate {
            file.note(Severity::Error, "tls.certificate", Wrong::CertificateBesideAcme);
            return;
        }
        tls.certificate = acme::certificate_file(&self.folder);
        tls.private_key = tls.certificate.clone();
    }
}

/// A wildcard needs DNS, an address another kind of certificate.
fn name(text: &str) -> Result<String, Wrong> {
    match values::domain(text)? {
        domain if domain.contains('.') => Ok(domain),
        domain if values::is_loopback(&domain) => Ok(domain),
        _ => Err(Wrong::NotForAcme(text.to_owned())),
    }
}

fn contact(text: &str) -> Result<String, Wrong> {
    let text = values::printable(text, "write an address, as \"postmaster@example.com\"")?;
    match text.rsplit_once('@') {
        Some((local, domain)) if !local.is_empty() && values::domain(domain).is_ok() => Ok(text),
        _ => Err(Wrong::NoAddress(text)),
    }
}

fn directory(text: &str) -> Result<String, Wrong> {
    let url = values::printable(text, "write the CA's directory URL")?;
    let wrong = || Wrong::AcmeDirectory(text.to_owned());
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let may_be_plain = scheme == "http" && values::is_loopback(host);
    if (scheme == "https" || may_be_plain) && !host.is_empty() && url.parse::<hyper::Uri>().is_ok() {
        Ok(url)
    } else {
        Err(wrong())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Parsed};
    use super::*;

    fn parse(text: &str) -> Result<Parsed, String> {
        let text = format!("[[listener]]\naddr = \"127.0.0.1:0\"\n{text}");
        let told = Config::parse(&text, Path::new("/c"));
        told.map_err(|problems| problems.iter().map(|problem| problem.to_string()).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn the_certificate_is_the_cas() {
        let without = parse("").unwrap().config;
        assert_eq!((without.acme, without.tls.may_generate), (None, true));
        let text = "[acme]\ndomains = [\"Relay.Example.com\", \"b\u{fc}cher.example\"]\nterms_agreed = true\n";
        let with = parse(text).unwrap().config;
        let acme = with.acme.unwrap();
        assert_eq!(acme.domains, ["relay.example.com", "xn--bcher-kva.example"]);
        assert_eq!(acme.server(), ("acme-v02.api.letsencrypt.org".to_owned(), 443));
        assert_eq!(with.tls.certificate, Path::new("/c/data/acme/certificate.pem"));
        assert_eq!(with.tls.private_key, with.tls.certificate, "one file, replaced as one");
        assert!(with.tls.may_generate, "until the first has come");
        // As [tls] is shipped it does not stand in the way; files of one's own do.
        let shipped = "[tls]\ncertificate = \"certs/relay.crt\"\nprivate_key = \"certs/relay.key\"\n";
        assert!(parse(&format!("{text}{shipped}")).is_ok());
        assert!(parse(&format!("{text}[tls]\ncertificate = \"own.pem\"\n")).unwrap_err().contains("beside [acme]"));
    }

    #[test]
    fn where_a_ca_may_be() {
        // (as written, right, host and port)
        let rows = [
            ("https://ca.example/dir", Some(("ca.example", 443))),
            ("https://ca.example:14000/dir", Some(("ca.example", 14000))),
            // In clear on this machine only.
            ("http://localhost:4000/dir", Some(("localhost", 4000))),
            ("http://127.0.0.1/dir", Some(("127.0.0.1", 80))),
            ("http://ca.example/dir", None),
            ("http://localhost.example/dir", None),
            ("ftp://ca.example/dir", None),
            ("ca.example", None),
            ("https:///dir", None),
            ("", None),
        ];
        for (text, expected) in rows {
            let config = format!("[acme]\ndomains = [\"a.example\"]\nterms_agreed = true\ndirectory = \"{text}\"\n");
            let server = parse(&config).ok().map(|parsed| parsed.config.acme.unwrap().server());
            assert_eq!(server, expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }

    /// A name for which nobody would be asked, or a CA that nobody could answer, is said before the CA says it.
    #[test]
    fn what_could_not_work() {
        let acme = "[acme]\ndomains = [\"a.example\"]\nterms_agreed = true\n";
        let site = "[web]\npublic_url = \"https://localhost\"\ntls = true\n";
        assert!(parse(&format!("{acme}{site}")).unwrap_err().contains("acme.listen: is missing"));
        assert!(parse(&format!("{acme}listen = \"127.0.0.1:0\"\n{site}")).is_ok());
        let over_tls = format!("{acme}challenge = \"tls-alpn-01\"\n");
        assert!(parse(&over_tls).unwrap_err().contains("acme.challenge: asks the tracking site over TLS"));
        assert!(parse(&format!("{over_tls}{site}")).is_ok(), "port 80 is not needed");
        let nobody =
            Config::parse(&format!("[[listener]]\naddr = \"127.0.0.1:0\"\ntls = \"none\"\n{acme}"), Path::new("/c"));
        let warnings = nobody.unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.to_string().contains("nothing shows")), "{warnings:?}");
    }
}
