//! The ledger of a run: what clients were told, what upstream took, what is on disk; and whether that is what we promise.
//!
//! | | invariant |
//! |---|---|
//! | I1 | after a 250 every recipient has an accepted copy, a report to the sender, or stands in the spool |
//! | I2 | after a 5yz nobody has a copy, and nobody stands in the spool |
//! | I3 | nobody has more copies than one and as many as there were kills with that copy's dot unanswered |
//! | I4 | nobody is reported more than once (and once more a kill), and nobody who has the mail |
//! | I5 | every link in every accepted copy leads to where it led before (asked of the running site) |
//!
//! And two of its own: what is in the spool can be read, and a copy holds the mail its envelope belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use waxseal::smtp::path::ReversePath;
use waxseal::spool::{Record, Stage, State};

use super::client::Told;
use super::unsplice::{clicks, http};
use super::upstream::RecordedMail;

/// One record on disk.
pub(crate) struct Kept {
    /// The mail file.
    pub(crate) record: Record,
    /// The state file, or the first state.
    pub(crate) state: State,
}

/// Reads a spool without touching it; also one that is in use. The second value names what cannot be read.
pub(crate) fn read_spool(folder: &Path) -> (Vec<Kept>, Vec<String>) {
    let (mut kept, mut unreadable) = (Vec::new(), Vec::new());
    let Ok(entries) = fs::read_dir(folder) else { return (kept, unreadable) };
    let names: Vec<String> = entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    for id in names.iter().filter_map(|name| name.strip_suffix(".mail")) {
        // It may be ended between the listing and now.
        let Ok(octets) = fs::read(folder.join(format!("{id}.mail"))) else { continue };
        let state = fs::read(folder.join(format!("{id}.state")));
        match Record::decode(&octets.into()) {
            Err(e) => unreadable.push(format!("{id}.mail: {e}")),
            Ok(record) => {
                match state.map_or_else(|_| Ok(record.first_state.clone()), |octets| State::decode(&octets)) {
                    Err(e) => unreadable.push(format!("{id}.state: {e}")),
                    Ok(state) => kept.push(Kept { record, state }),
                }
            }
        }
    }
    let corrupt = fs::read_dir(folder.join("corrupt")).into_iter().flatten();
    unreadable.extend(corrupt.map(|e| format!("corrupt/{}", e.unwrap().file_name().to_string_lossy())));
    (kept, unreadable)
}

/// One recipient and one copy, by address.
type Counts = BTreeMap<String, usize>;

/// Everything known about a run.
#[derive(Default)]
pub(crate) struct Ledger {
    told: Vec<Told>,
    accepted: Counts,
    reported: Counts,
    /// Copies whose envelope and content are of two mails.
    mixed: Vec<String>,
    links: BTreeMap<String, String>,
    /// Recipient → its stage in the spool now.
    spooled: BTreeMap<String, Stage>,
    /// Recipients that a report in the spool is about.
    reports_spooled: BTreeSet<String>,
    unreadable: Vec<String>,
    /// Dots that stood unanswered when the process died or the connection was cut: by which kill, in which attempt.
    unanswered: BTreeMap<String, BTreeSet<(usize, u32)>>,
    kills: usize,
}

impl Ledger {
    /// What clients were told, once each.
    pub(crate) fn tell(&mut self, told: impl IntoIterator<Item = Told>) {
        self.told.extend(told);
    }

    /// The process was killed; this is what it left. What stood in flight may have arrived.
    pub(crate) fn killed(&mut self, spool: &Path) {
        self.kills += 1;
        self.doubt(spool, Stage::InFlight);
    }

    /// Connections to upstream are being cut: what the spool calls unknown may have arrived. Ask often.
    pub(crate) fn cut(&mut self, spool: &Path) {
        self.doubt(spool, Stage::Unknown);
    }

    /// One doubt a recipient, kill and attempt, however often it is looked at.
    fn doubt(&mut self, spool: &Path, stage: Stage) {
        for Kept { record, state } in read_spool(spool).0 {
            for (recipient, state) in record.envelope.recipients.iter().zip(&state.recipients) {
                if state.stage == stage {
                    self.unanswered.entry(recipient.path.0.display()).or_default().insert((self.kills, state.attempts));
                }
            }
        }
    }

    /// Everything upstream took from the beginning of the run until now.
    pub(crate) fn upstream(&mut self, mails: &[RecordedMail]) {
        (self.accepted, self.reported, self.mixed, self.links) = Default::default();
        for mail in mails.iter().filter(|mail| mail.accepted) {
            let content = String::from_utf8_lossy(&mail.content);
            if is_from_nobody(&mail.mail) {
                for failed in failed_recipients(&content) {
                    *self.reported.entry(failed).or_default() += 1;
                }
                continue;
            }
            let id = ledger_id(&content).unwrap_or_default().to_owned();
            for recipient in mail.rcpts.iter().filter_map(|line| address(line)) {
                if !recipient.contains(&format!(".{id}@")) {
                    self.mixed.push(format!("{recipient} got the mail {id}"));
                }
                *self.accepted.entry(recipient.to_owned()).or_default() += 1;
            }
            for path in clicks(&mail.content, super::process::PUBLIC_URL) {
                self.links.insert(path, id.clone());
            }
        }
    }

    /// What stands in the spool now.
    pub(crate) fn spool(&mut self, folder: &Path) {
        let (kept, unreadable) = read_spool(folder);
        (self.spooled, self.reports_spooled) = Default::default();
        self.unreadable = unreadable;
        for Kept { record, state } in kept {
            if record.envelope.reverse_path == ReversePath::Null || record.own_report {
                self.reports_spooled.extend(failed_recipients(&String::from_utf8_lossy(&record.raw)));
                continue;
            }
            for (recipient, state) in record.envelope.recipients.iter().zip(&state.recipients) {
                self.spooled.insert(recipient.path.0.display(), state.stage);
            }
        }
    }

    /// Every promise that was broken, in words.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut found: Vec<String> = self.unreadable.iter().map(|what| format!("the spool holds {what}")).collect();
        found.extend(self.mixed.iter().cloned());
        for told in &self.told {
            self.check_answer(told, &mut found);
        }
        for (recipient, copies) in &self.accepted {
            let allowed = 1 + self.unanswered.get(recipient).map_or(0, BTreeSet::len);
            if *copies > allowed {
                found.push(format!("I3 {recipient} has {copies} copies, {allowed} allowed"));
            }
        }
        for (recipient, reports) in &self.reported {
            if *reports > 1 + self.kills {
                found.push(format!("I4 {recipient} is reported {reports} times after {} kills", self.kills));
            }
            if self.accepted.contains_key(recipient) && !self.unanswered.contains_key(recipient) {
                found.push(format!("I4 {recipient} has the mail and is reported as failed"));
            }
        }
        found
    }

    fn check_answer(&self, told: &Told, found: &mut Vec<String>) {
        let code = told.code();
        for recipient in &told.recipients {
            let accepted = self.accepted.contains_key(recipient);
            let stage = self.spooled.get(recipient);
            let reported = self.reported.contains_key(recipient) || self.reports_spooled.contains(recipient);
            let waits = stage.is_some_and(|stage| !stage.is_settled());
            if code == 250 && !accepted && !reported && !waits {
                found.push(format!("I1 {} {recipient} was acknowledged and is lost (stage {stage:?})", told.id));
            }
            if (500..600).contains(&code) && (accepted || stage.is_some()) {
                found.push(format!("I2 {} {recipient} was refused ({code}) and has or will have the mail", told.id));
            }
        }
    }

    /// I5, asked of some `most` links spread over the run.
    pub(crate) fn dead_links(&self, tracking: SocketAddr, most: usize) -> Vec<String> {
        let mut dead = Vec::new();
        for (path, id) in self.links.iter().step_by((self.links.len() / most).max(1)) {
            let answer = http(tracking, "HEAD", path, &[]);
            let to = answer.header("location").unwrap_or_default();
            let right = to == format!("https://shop.example/offer/{id}?a=1") || to == "https://shop.example/second";
            if answer.status != 302 || !right {
                dead.push(format!("I5 {path} of {id}: {} {to:?}", answer.status));
            }
        }
        dead
    }

    /// Panics with every broken promise.
    pub(crate) fn assert_kept(&self, context: &str) {
        let broken = self.violations();
        assert!(broken.is_empty(), "{} promises broken: {context}\n{}", broken.len(), broken.join("\n"));
    }

    /// How many clients were told so.
    pub(crate) fn answers(&self, code: u16) -> usize {
        self.told.iter().filter(|told| told.code() == code).count()
    }

    /// How many links its copies hold.
    pub(crate) fn links(&self) -> usize {
        self.links.len()
    }

    /// How many recipients were reported as failed.
    pub(crate) fn reports(&self) -> usize {
        self.reported.len()
    }

    /// The run in one line.
    pub(crate) fn summary(&self) -> String {
        let copies: usize = self.accepted.values().sum();
        let doubts: usize = self.unanswered.values().map(BTreeSet::len).sum();
        let mut codes = BTreeMap::new();
        for told in &self.told {
            *codes.entry(told.code()).or_insert(0) += 1;
        }
        let left = self.told.iter().filter(|told| told.dot_sent && told.reply.is_none()).count();
        format!(
            "{} submissions answered {codes:?} ({left} left without an answer to their dot), {copies} copies, {} of them \
             second ones, {doubts} dots unanswered, {} recipients reported, {} links",
            self.told.len(),
            copies - self.accepted.len(),
            self.reports(),
            self.links()
        )
    }
}

fn is_from_nobody(mail_command: &str) -> bool {
    address(mail_command) == Some("")
}

/// What stands between the angle brackets.
fn address(command: &str) -> Option<&str> {
    command.split_once('<')?.1.split_once('>').map(|(address, _)| address)
}

fn ledger_id(content: &str) -> Option<&str> {
    content.lines().find_map(|line| line.strip_prefix("X-Ledger-Id: "))
}

/// Everyone a report says `Action: failed` of (RFC 3464 §2.3).
fn failed_recipients(report: &str) -> Vec<String> {
    let mut last = None;
    let mut failed = Vec::new();
    for line in report.lines() {
        if let Some(address) = line.strip_prefix("Final-Recipient: rfc822;") {
            last = Some(address.trim().to_owned());
        } else if line == "Action: failed" {
            failed.extend(last.take());
        }
    }
    failed
}

/// Each promise can be seen to break: a run that keeps it, and the smallest change of it that does not.
#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use waxseal::message::{Envelope, Recipient};
    use waxseal::smtp::extension::{MailParams, RcptParams};
    use waxseal::smtp::path::{ForwardPath, Mailbox};
    use waxseal::token::MessageId;

    use super::super::client::{Reply, Submission};
    use super::*;

    fn told(id: &str, code: u16) -> Told {
        let recipients = Submission::new(id, &["b"]).recipients;
        let reply = (code > 0).then(|| Reply { code, text: String::new() });
        Told { id: id.to_owned(), recipients, dot_sent: true, reply }
    }

    fn copy(id: &str) -> RecordedMail {
        let mail = Submission::new(id, &["b"]);
        RecordedMail {
            mail: format!("MAIL FROM:<{}> SIZE=100", mail.sender),
            rcpts: vec![format!("RCPT TO:<{}>", mail.recipients[0])],
            content: mail.content,
            accepted: true,
            ..RecordedMail::default()
        }
    }

    fn report(id: &str, action: &str) -> RecordedMail {
        let text = format!(
            "Reporting-MTA: dns; localhost\r\n\r\nFinal-Recipient: rfc822; b.{id}@ok.test\r\nAction: {action}\r\n"
        );
        RecordedMail {
            mail: "MAIL FROM:<>".to_owned(),
            content: text.into_bytes(),
            accepted: true,
            ..RecordedMail::default()
        }
    }

    fn spool_with(id: &str, stage: Stage) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mailbox = |text: &str| Mailbox::parse(text.as_bytes(), false).unwrap();
        let mail = Submission::new(id, &["b"]);
        let mut first_state = State::waiting(1, 0);
        first_state.recipients[0].stage = stage;
        let record = Record {
            id: MessageId(7),
            accepted_at_ms: 1,
            org: "default".to_owned(),
            login: None,
            own_report: false,
            envelope: Envelope {
                reverse_path: ReversePath::Mailbox(mailbox(&mail.sender)),
                params: MailParams::default(),
                recipients: vec![Recipient {
                    path: ForwardPath(mailbox(&mail.recipients[0])),
                    params: RcptParams::default(),
                }],
            },
            first_state,
            recipe: "{}".to_owned(),
            via: waxseal::spool::Via::default(),
            raw: Bytes::from(mail.content),
        };
        fs::write(folder.path().join("0000000000000007.mail"), record.encode().unwrap().concat()).unwrap();
        folder
    }

    /// The violations of one client's answer, upstream's mails and one stage in the spool.
    fn check(code: u16, upstream: &[RecordedMail], stage: Option<Stage>) -> Vec<String> {
        let mut ledger = Ledger::default();
        ledger.tell([told("m1", code)]);
        ledger.upstream(upstream);
        if let Some(stage) = stage {
            ledger.spool(spool_with("m1", stage).path());
        }
        ledger.violations()
    }

    fn assert_broken(found: &[String], with: &str) {
        assert!(found.len() == 1 && found[0].starts_with(with), "expected one violation of {with}: {found:?}");
    }

    #[test]
    fn a_250_with_nothing_behind_it_is_a_lost_mail() {
        assert_broken(&check(250, &[], None), "I1");
        // Settled in the spool, and neither a copy nor a report: lost all the same.
        assert_broken(&check(250, &[], Some(Stage::Failed)), "I1");
        assert_broken(&check(250, &[], Some(Stage::Delivered)), "I1");
        // A note that it is late is no report that it failed.
        assert_broken(&check(250, &[report("m1", "delayed")], None), "I1");
        // A copy that upstream did not acknowledge is none.
        assert_broken(&check(250, &[RecordedMail { accepted: false, ..copy("m1") }], None), "I1");
        for (upstream, stage) in [
            (vec![copy("m1")], None),
            (vec![report("m1", "failed")], None),
            (vec![], Some(Stage::Waiting)),
            (vec![], Some(Stage::InFlight)),
            (vec![], Some(Stage::BounceOwed)),
        ] {
            assert_eq!(check(250, &upstream, stage), Vec::<String>::new());
        }
        // No answer promises nothing.
        assert_eq!(check(0, &[], None), Vec::<String>::new());
        assert_eq!(check(451, &[], None), Vec::<String>::new());
    }

    #[test]
    fn a_refused_mail_that_arrives_is_a_lie() {
        assert_broken(&check(550, &[copy("m1")], None), "I2");
        assert_broken(&check(550, &[], Some(Stage::Waiting)), "I2");
        assert_eq!(check(550, &[], None), Vec::<String>::new());
        assert_eq!(check(451, &[copy("m1")], None), Vec::<String>::new());
    }

    #[test]
    fn a_second_copy_needs_a_kill_with_its_dot_unanswered() {
        assert_broken(&check(250, &[copy("m1"), copy("m1")], None), "I3");
        let with_kill = |stage| {
            let mut ledger = Ledger::default();
            ledger.tell([told("m1", 250)]);
            ledger.killed(spool_with("m1", stage).path());
            ledger.upstream(&[copy("m1"), copy("m1")]);
            ledger.violations()
        };
        assert_eq!(with_kill(Stage::InFlight), Vec::<String>::new());
        assert_broken(&with_kill(Stage::Waiting), "I3");
        assert_broken(&with_kill(Stage::Delivered), "I3");
        // A connection that was lost after the dot allows one more copy, however long the doubt is looked at.
        let mut ledger = Ledger::default();
        let spool = spool_with("m1", Stage::Unknown);
        (0..3).for_each(|_| ledger.cut(spool.path()));
        ledger.upstream(&[copy("m1"), copy("m1")]);
        assert_eq!(ledger.violations(), Vec::<String>::new());
        ledger.upstream(&[copy("m1"), copy("m1"), copy("m1")]);
        assert_broken(&ledger.violations(), "I3");
    }

    #[test]
    fn a_sender_is_told_once_and_told_the_truth() {
        assert_broken(&check(250, &[report("m1", "failed"), report("m1", "failed")], None), "I4");
        assert_broken(&check(250, &[copy("m1"), report("m1", "failed")], None), "I4");
        assert_eq!(check(250, &[copy("m1"), report("m1", "relayed")], None), Vec::<String>::new());
    }

    #[test]
    fn a_link_that_leads_nowhere_is_dead() {
        use std::io::{Read, Write};
        let site = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = site.local_addr().unwrap();
        let answers = [
            "302 Found\r\nLocation: https://shop.example/second",
            "302 Found\r\nLocation: https://evil.example/",
            "404 x",
        ];
        let server = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = site.accept().unwrap();
                let mut request = [0; 4096];
                assert!(stream.read(&mut request).unwrap() > 0);
                stream.write_all(format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
            }
        });
        let mut ledger = Ledger::default();
        let tracked = |n: usize| format!("{}/c/token{n}", super::super::process::PUBLIC_URL);
        let mut mail = copy("m1");
        mail.content.extend_from_slice(format!("<a href=\"{}\">", tracked(1)).as_bytes());
        ledger.upstream(&[mail]);
        assert_eq!(ledger.links(), 1);
        assert_eq!(ledger.dead_links(addr, 9), Vec::<String>::new());
        assert_eq!(ledger.dead_links(addr, 9).len(), 1, "it leads elsewhere");
        assert_eq!(ledger.dead_links(addr, 9).len(), 1, "it leads nowhere");
        server.join().unwrap();
    }

    #[test]
    fn a_damaged_record_and_a_mixed_up_copy_are_seen() {
        let folder = spool_with("m1", Stage::Waiting);
        let path = folder.path().join("0000000000000007.mail");
        let mut octets = fs::read(&path).unwrap();
        octets.truncate(octets.len() - 1);
        fs::write(&path, octets).unwrap();
        let mut ledger = Ledger::default();
        ledger.spool(folder.path());
        assert_broken(&ledger.violations(), "the spool holds");
        let mut mixed = copy("m1");
        mixed.rcpts = copy("m2").rcpts;
        assert_broken(&check(0, &[mixed], None), "b.m2@ok.test got the mail m1");
    }
}
