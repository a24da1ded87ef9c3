//! Runs every folder.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use waxseal::policy::LinkRules;
use waxseal::policy::plan::HeaderChoice;
use waxseal::rewrite::{FooterOptions, Options, Prepared, Variant, prepare};
use waxseal::settings::privacy::Footer;
use waxseal::settings::{Mode, Quotes, Tracking, VisibleUrls};

use super::tokens::{self, mint};

const RECEIVED: &[u8] = b"Received: from client.example\r\n\tby relay.example (waxseal) with ESMTPSA id 1;\r\n\tMon, 23 Nov 2026 20:49:17 +0000\r\n";

/// `settings.toml`; what is not said is on, individual, unwrapped, tracked, and offline.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    opens: String,
    links: String,
    text_links: bool,
    quotes: String,
    visible_urls: String,
    excluded_hosts: Vec<String>,
    footer: String,
    relay: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            opens: "individual".to_owned(),
            links: "individual".to_owned(),
            text_links: false,
            quotes: "unwrap".to_owned(),
            visible_urls: "track".to_owned(),
            excluded_hosts: Vec::new(),
            footer: String::new(),
            relay: false,
        }
    }
}

impl Settings {
    fn prepare(&self, raw: &Bytes) -> (Prepared, Variant) {
        let mode = |word: &str| word.parse::<Mode>().expect("a mode");
        let settings = Tracking { opens: mode(&self.opens), links: mode(&self.links), text_links: self.text_links };
        let variant = Variant::from(settings.narrowed_by(HeaderChoice::read(raw).choice));
        let rules = LinkRules {
            visible_urls: if self.visible_urls == "leave" { VisibleUrls::Leave } else { VisibleUrls::Track },
            excluded_hosts: self.excluded_hosts.clone(),
            list_urls: Vec::new(),
            ..LinkRules::default()
        };
        let footer: Option<Footer> =
            Some(&self.footer).filter(|text| !text.is_empty()).map(|text| text.parse().expect("a footer"));
        let options = Options {
            footer: footer.as_ref().map(|footer| FooterOptions { footer, payload_bytes: 0 }),
            quotes: if self.quotes == "leave" { Quotes::Leave } else { Quotes::Unwrap },
            received: if self.relay { RECEIVED } else { b"" },
            remove_fields: self.relay,
            ..tokens::options(variant, &rules)
        };
        (prepare(raw, &options), variant)
    }
}

#[test]
fn every_message_is_as_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/messages");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() >= 60, "only {} cases", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(|case| run(case).err()).collect();
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

fn run(case: &Path) -> Result<(), String> {
    let name = case.file_name().unwrap().to_string_lossy().into_owned();
    let raw = Bytes::from(std::fs::read(case.join("in.eml")).unwrap());
    let settings: Settings = toml::from_str(&std::fs::read_to_string(case.join("settings.toml")).unwrap())
        .map_err(|problem| format!("{name}: {problem}"))?;
    let (prepared, variant) = settings.prepare(&raw);
    let copy = prepared.layout(variant).render(mint).map_err(|_| format!("{name}: token length"))?.to_bytes();
    let mut told = prepared.outcome().lines().join("\n");
    for slot in prepared.layout(variant).slots() {
        told.push_str(format!("\ntoken {:?} {}: {}", slot.kind, slot.link, slot.payload).trim_end());
    }
    told.push('\n');
    if std::env::var("WAXSEAL_GOLDEN").is_ok_and(|word| word == "write") {
        std::fs::write(case.join("out.eml"), &copy).unwrap();
        std::fs::write(case.join("links.txt"), &told).unwrap();
        return Ok(());
    }
    let expected = std::fs::read(case.join("out.eml")).map_err(|problem| format!("{name}: out.eml: {problem}"))?;
    if copy != expected {
        return Err(format!("{name}: out.eml differs; it is now\n{}", String::from_utf8_lossy(&copy)));
    }
    let expected = std::fs::read_to_string(case.join("links.txt")).map_err(|problem| format!("{name}: {problem}"))?;
    if told == expected { Ok(()) } else { Err(format!("{name}: links.txt differs; it is now\n{told}")) }
}
