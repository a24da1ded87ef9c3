//! Notices by mail: the lines that wait become one mail a person, so many an hour at most.
//!
//! **Invariant:** a notice is with the postman before its lines are struck out, so a crash between the two sends it twice and
//! never not at all. Whoever has said stop meanwhile is sent nothing.

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

/// Writes notices until it is time to stop.
pub(super) async fn run(notify: &Notify, mut stop: watch::Receiver<bool>) {
    loop {
        let rest = match round(notify).await {
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

async fn round(notify: &Notify) -> Result<(), StoreError> {
    let now_ms = (notify.parts.clock)();
    let waiting = notify.parts.outbox.notices(now_ms.saturating_sub(HOUR_MS), notify.options.mail_lines_max).await?;
    for notice in waiting {
        if !is_wanted(notify, &notice) {
            notify.parts.outbox.noticed(notice, None).await?;
        } else if notice.sent_lately < notify.options.mails_per_hour_max {
            send(notify, notice, now_ms).await?;
        }
    }
    Ok(())
}

fn is_wanted(notify: &Notify, notice: &WaitingNotice) -> bool {
    let snapshot = notify.parts.settings.snapshot();
    let org = notice.lines.first().map(|line| &line.org);
    snapshot.users.contains_key(&notice.login) && org.is_some_and(|org| snapshot.notices_of(org, &notice.login).mail)
}

/// One mail of everything that waits; a notice that cannot be written at all is dropped, and said.
async fn send(notify: &Notify, notice: WaitingNotice, now_ms: i64) -> Result<(), StoreError> {
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
    notify.parts.outbox.noticed(notice, Some(now_ms)).await
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
    use crate::settings::{Choice, OrgName, Role, User};
    use crate::store::history::{self, SqliteHistory};
    use crate::store::memory::{MemoryHistory, MemorySettings};
    use crate::store::outbox::{NewLine, News, Outbox, Telling};
    use crate::store::{BoxFuture, Change, SettingsStore as _};
    use crate::token::{Keyring, MessageId, RootKey, Secret, Site, SiteId};

    /// Keeps what is posted, or refuses it.
    #[derive(Default)]
    struct Kept {
        mails: Mutex<Vec<String>>,
        full: Mutex<bool>,
    }

    impl Postman for Kept {
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
        _folder: tempfile::TempDir,
    }

    /// ann wants mail, two an hour at most, two lines each.
    async fn world() -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteHistory::open(&folder.path().join("h"), &history::Options::default()).unwrap();
        let settings = Arc::new(MemorySettings::default());
        let user = User {
            login: "ann".to_owned(),
            org: Some("acme".parse().unwrap()),
            role: Role::Sender,
            password_hash: String::new(),
            addresses: Vec::new(),
            choice: Choice::default(),
        };
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
        World { notify: Notify::new(parts, options), settings, kept, _folder: folder }
    }

    impl World {
        async fn happens(&self, times: usize) {
            let News::Event { entry, .. } = event(EventKind::Open, Verdict::Person, true) else { panic!() };
            let line = NewLine {
                login: "ann".to_owned(),
                org: "acme".parse().unwrap(),
                message: MessageId(1),
                at_ms: AT_MS,
                sender: "ann@acme.example".to_owned(),
                line: Line::of(&entry, "<1@acme.example>").print(),
            };
            let telling = Telling { lines: vec![line; times], lines_max: 100, ..Telling::default() };
            self.notify.parts.outbox.tell(telling).await.unwrap();
            let taken = round(&self.notify).await;
            assert_eq!(taken.is_ok(), !*self.kept.full.lock().unwrap());
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
}
