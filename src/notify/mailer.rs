//! Notices by mail: the lines that wait become one mail a person, so many an hour at most.
//!
//! **Invariant:** a notice is with the postman before its lines are struck out, so a crash between the two sends it twice and
//! never not at all. While lines cannot be struck out, nothing more is sent, that notice least of all. Whoever has said stop
//! meanwhile is sent nothing.

use std::collections::HashMap;
use std::time::Duration;

use metrics::counter;
use tokio::sync::watch;

use super::letter::{Addressed, Line, letter};
use super::{Notify, stopped};
use crate::smtp::Mailbox;
use crate::store::StoreError;
use crate::store::outbox::WaitingNotice;

/// How often it is looked whether lines wait: what happens together comes as one mail.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// After a failure of the store or the spool.
const REST: Duration = Duration::from_secs(60);
/// What the bound of mails counts over.
const HOUR_MS: i64 = 3_600_000;

/// A notice that the postman has and whose lines are not struck out yet, and when it was sent.
type Unstruck = Option<(WaitingNotice, i64)>;

/// Writes notices until it is time to stop.
pub(super) async fn run(notify: &Notify, mut stop: watch::Receiver<bool>) {
    let mut unstruck = None;
    loop {
        let rest = match round(notify, &mut unstruck).await {
            Ok(()) => LOOK_EVERY,
            Err(error) => {
                tracing::error!(%error, "notices by mail cannot be sent for now; they wait");
                REST
            }
        };
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

async fn round(notify: &Notify, unstruck: &mut Unstruck) -> Result<(), StoreError> {
    strike(notify, unstruck).await?;
    let (now_ms, most) = ((notify.parts.clock)(), notify.options.mails_per_hour_max);
    let since_ms = now_ms.saturating_sub(HOUR_MS);
    let waiting = notify.parts.outbox.notices(since_ms, most, notify.options.mail_lines_max).await?;
    // One login may send from several addresses, each with a notice of its own: the bound is the login's.
    let mut sent: HashMap<String, u32> = HashMap::new();
    for notice in waiting {
        let sent_now = sent.entry(notice.login.clone()).or_default();
        if !is_wanted(notify, &notice) {
            notify.parts.outbox.noticed(notice, None).await?;
        } else if notice.sent_lately.saturating_add(*sent_now) < most {
            *sent_now += 1;
            send(notify, notice, now_ms, unstruck).await?;
        }
    }
    Ok(())
}

/// Strikes out the lines of what was sent. Until that is done, nothing else is: it would be sent over and over.
async fn strike(notify: &Notify, unstruck: &mut Unstruck) -> Result<(), StoreError> {
    if let Some((notice, sent_at_ms)) = unstruck.clone() {
        notify.parts.outbox.noticed(notice, Some(sent_at_ms)).await?;
        *unstruck = None;
    }
    Ok(())
}

fn is_wanted(notify: &Notify, notice: &WaitingNotice) -> bool {
    let snapshot = notify.parts.settings.snapshot();
    let Some(org) = notice.lines.first().map(|line| &line.org) else { return false };
    snapshot.users.contains_key(&notice.login)
        && snapshot.notices_of(org, &notice.login).mail
        && notify.no_mail_for(org).is_none()
}

/// One mail of everything that waits; a notice that cannot be written at all is dropped, and said.
async fn send(notify: &Notify, notice: WaitingNotice, now_ms: i64, unstruck: &mut Unstruck) -> Result<(), StoreError> {
    let written = write(notify, &notice, now_ms);
    let org = notice.lines.first().map(|line| line.org.clone());
    let (Ok((envelope, raw)), Some(org)) = (&written, org) else {
        let why = written.err().unwrap_or_default();
        tracing::error!(login = %notice.login, "a notice is not sent: {why}");
        return notify.parts.outbox.noticed(notice, None).await;
    };
    let taken = notify.parts.postman.post(org, notice.login.clone(), envelope.clone(), raw.clone()).await;
    taken.map_err(|detail| StoreError::Disk { store: "spool", detail })?;
    counter!("waxseal_notice_mails_total").increment(1);
    *unstruck = Some((notice, now_ms));
    strike(notify, unstruck).await
}

fn write(
    notify: &Notify,
    notice: &WaitingNotice,
    now_ms: i64,
) -> Result<(crate::message::Envelope, bytes::Bytes), String> {
    let options = &notify.options;
    let to = Mailbox::parse(notice.sender.as_bytes(), true).map_err(|_| "the sender's address is none".to_owned())?;
    let stop_url = notify.stop_url(&notice.login).map_err(|error| error.to_string())?;
    let lines: Vec<Line> = notice.lines.iter().filter_map(|line| Line::read(&line.line)).collect();
    if lines.is_empty() {
        return Err("its lines cannot be read".to_owned());
    }
    let id = getrandom::u64().map_err(|_| "the system gives no random numbers".to_owned())?;
    let named = u32::try_from(notice.lines.len()).unwrap_or(u32::MAX);
    let addressed = Addressed {
        from: options.mail_from.as_ref().unwrap_or(&to),
        to: &to,
        reverse_path: &options.reverse_path,
        hostname: &options.hostname,
        id: &format!("{id:016x}"),
        stop_url: &stop_url,
        now_ms,
    };
    letter(&addressed, &lines, notice.total.saturating_sub(named)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use arc_swap::ArcSwap;
    use bytes::Bytes;

    use super::super::payload::tests::{AT_MS, event};
    use super::super::{Options, Parts, Postman};
    use super::*;
    use crate::event::{EventKind, Verdict};
    use crate::message::Envelope;
    use crate::settings::notices::{Level, NoticeChoice};
    use crate::settings::{OrgName, Role, User};
    use crate::store::contract_tests::record;
    use crate::store::history::{self, SqliteHistory};
    use crate::store::memory::{MemoryHistory, MemorySettings};
    use crate::store::outbox::{NewLine, News, Outbox, Telling};
    use crate::store::{BoxFuture, Change, HistoryStore as _, SettingsStore as _};
    use crate::token::{Keyring, MessageId, RootKey, Secret, Site, SiteId};

    /// Keeps what is posted, or refuses it.
    #[derive(Default)]
    struct Kept {
        mails: Mutex<Vec<String>>,
        full: Mutex<bool>,
        no_login: Mutex<bool>,
    }

    impl Postman for Kept {
        fn cannot_post(&self, _: &OrgName) -> Option<&'static str> {
            self.no_login.lock().unwrap().then_some("no login of our own")
        }

        fn post(&self, _: OrgName, _: String, _: Envelope, raw: Bytes) -> BoxFuture<'_, Result<(), String>> {
            Box::pin(async move {
                if *self.full.lock().unwrap() {
                    return Err("the disk is full".to_owned());
                }
                self.mails.lock().unwrap().push(String::from_utf8(raw.to_vec()).unwrap());
                Ok(())
            })
        }
    }

    struct World {
        notify: Arc<Notify>,
        settings: Arc<MemorySettings>,
        kept: Arc<Kept>,
        folder: tempfile::TempDir,
    }

    /// ann wants mail, two an hour at most, two lines each.
    async fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
        store.insert(record(1)).await.unwrap();
        let settings = Arc::new(MemorySettings::default());
        let user = User::new("ann".to_owned(), Some("acme".parse().unwrap()), Role::Sender, String::new());
        let wish = NoticeChoice { level: Level::First, mail: true };
        let changes = vec![Change::PutUser(user), Change::PutNotices("ann".to_owned(), wish)];
        settings.change(changes).await.unwrap();
        let key = RootKey { id: 0, secret: Secret([3; 32]), created: jiff::Timestamp::UNIX_EPOCH, revoked: None };
        let site =
            Site { id: SiteId([1; 4]), url: "http://t.example".to_owned(), former_urls: Vec::new(), default: true };
        let kept = Arc::new(Kept::default());
        let parts = Parts {
            outbox: Outbox::new(Arc::new(store)),
            history: Arc::new(MemoryHistory::default()),
            settings: Arc::clone(&settings) as Arc<dyn crate::store::SettingsStore>,
            keyring: Arc::new(ArcSwap::from_pointee(Keyring::new(vec![key], vec![site]).unwrap())),
            postman: Arc::clone(&kept) as Arc<dyn Postman>,
            news: watch::Sender::new(()).subscribe(),
            clock: || AT_MS,
        };
        let options = Options { mails_per_hour_max: 2, mail_lines_max: 2, ..Options::default() };
        World { notify: Notify::new(parts, options), settings, kept, folder }
    }

    impl World {
        async fn happens(&self, times: usize) {
            self.tell("ann@acme.example", times).await;
            let taken = round(&self.notify, &mut None).await;
            assert_eq!(taken.is_ok(), !*self.kept.full.lock().unwrap());
        }

        /// So many opens of mail that ann sent from this address.
        async fn tell(&self, sender: &str, times: usize) {
            let News::Event { entry, .. } = event(EventKind::Open, Verdict::Person, true) else { panic!() };
            let line = NewLine {
                login: "ann".to_owned(),
                org: "acme".parse().unwrap(),
                message: MessageId(1),
                recipient: None,
                at_ms: AT_MS,
                sender: sender.to_owned(),
                line: Line::of(&entry, "<1@acme.example>").print(),
            };
            let telling = Telling { lines: vec![line; times], lines_max: 100, ..Telling::default() };
            self.notify.parts.outbox.tell(telling).await.unwrap();
        }

        /// The disk of the history, as somebody else has it in hand.
        fn disk(&self) -> rusqlite::Connection {
            rusqlite::Connection::open(self.folder.path().join("h")).unwrap()
        }

        fn subjects(&self) -> Vec<String> {
            let mails = self.kept.mails.lock().unwrap();
            let subject =
                |mail: &String| mail.split("Subject: ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
            mails.iter().map(subject).collect()
        }

        async fn waiting(&self) -> u64 {
            self.notify.depth().await.unwrap().lines
        }
    }

    #[tokio::test]
    async fn so_many_an_hour_and_the_rest_in_one() {
        let world = world().await;
        world.happens(1).await;
        world.happens(5).await;
        assert_eq!(world.subjects()[1], "5 opens and clicks of your mail");
        assert!(world.kept.mails.lock().unwrap()[1].contains("And 3 more"));
        world.happens(1).await;
        world.happens(2).await;
        assert_eq!((world.subjects().len(), world.waiting().await), (2, 3), "the hour's are sent");
    }

    #[tokio::test]
    async fn what_the_spool_does_not_take_waits_and_stop_is_stop() {
        let world = world().await;
        *world.kept.full.lock().unwrap() = true;
        world.happens(2).await;
        assert_eq!((world.subjects().len(), world.waiting().await), (0, 2));
        *world.kept.full.lock().unwrap() = false;
        world.happens(1).await;
        assert_eq!((world.subjects(), world.waiting().await), (vec!["3 opens and clicks of your mail".to_owned()], 0));
        let stop = NoticeChoice { level: Level::First, mail: false };
        world.settings.change(vec![Change::PutNotices("ann".to_owned(), stop)]).await.unwrap();
        world.happens(1).await;
        assert_eq!((world.subjects().len(), world.waiting().await), (1, 0));
    }

    /// The bound is a person's, however many addresses they send from.
    #[tokio::test]
    async fn many_addresses_are_one_person() {
        let world = world().await;
        for alias in ["a", "b", "c", "d"] {
            world.tell(&format!("ann.{alias}@acme.example"), 1).await;
        }
        for _ in 0..2 {
            round(&world.notify, &mut None).await.unwrap();
            assert_eq!((world.subjects().len(), world.waiting().await), (2, 2));
        }
    }

    /// Nobody is sent the same over and over because our disk is full.
    #[tokio::test]
    async fn while_lines_cannot_be_struck_out_nothing_is_sent_again() {
        let world = world().await;
        let full = "CREATE TRIGGER full BEFORE DELETE ON mail_notice BEGIN SELECT raise(ABORT, 'full'); END";
        world.disk().execute_batch(full).unwrap();
        world.tell("ann@acme.example", 1).await;
        let mut unstruck = None;
        for _ in 0..3 {
            round(&world.notify, &mut unstruck).await.unwrap_err();
            assert_eq!(world.subjects().len(), 1);
        }
        // What happens meanwhile waits, and is told once there is room; that it was sent counts.
        world.tell("ann@acme.example", 2).await;
        world.disk().execute_batch("DROP TRIGGER full").unwrap();
        round(&world.notify, &mut unstruck).await.unwrap();
        assert_eq!(world.subjects()[1..], ["2 opens and clicks of your mail"]);
        assert_eq!(world.waiting().await, 0);
        world.happens(1).await;
        assert_eq!((world.subjects().len(), world.waiting().await), (2, 1), "both count for the hour");
    }

    /// What waited when the upstream server was changed to one where we have no login.
    #[tokio::test]
    async fn what_cannot_leave_is_not_written() {
        let world = world().await;
        *world.kept.no_login.lock().unwrap() = true;
        world.happens(1).await;
        assert_eq!((world.subjects().len(), world.waiting().await), (0, 0));
    }
}
