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
    if let Err(why) = taken {
        tracing::error!("a notice waits, for the spool does not take it: {why}");
        return Ok(());
    }
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
