//! Who is told of events: the bounds of the config, and notices by mail into the spool.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::now_ms;
use crate::config::Config;
use crate::copies::Composer;
use crate::deliver::backoff::Schedule;
use crate::deliver::couriers::Couriers;
use crate::message::Envelope;
use crate::notify::{Options, Postman};
use crate::queue::{Queue, Renderer as _};
use crate::settings::OrgName;
use crate::smtp::ReversePath;
use crate::spool::{Record, State};
use crate::store::BoxFuture;
use crate::token::MessageId;

/// How long the spool may take; nobody waits but the notices.
const KEEP_MAX: Duration = Duration::from_secs(30);

/// The bounds of a config.
pub(super) fn options(config: &Config) -> Options {
    let (notify, webhooks) = (&config.notify, &config.webhooks);
    Options {
        hostname: config.server.hostname.clone(),
        public_url: config.web.public_url.to_string(),
        allow_private: webhooks.allow_private,
        ca_file: webhooks.ca_file.clone(),
        webhooks_max: webhooks.per_org_max,
        waiting_max: webhooks.waiting_max,
        concurrency_max: webhooks.concurrency_max,
        connect_max: webhooks.connect_max,
        answer_max: webhooks.answer_max,
        schedule: Schedule { waits: webhooks.retry.clone(), life: webhooks.life, unknown_wait_min: Duration::ZERO },
        kept: webhooks.kept,
        streams_max: notify.feed_streams_max,
        mails_per_hour_max: notify.mails_per_hour_max,
        mail_lines_max: notify.mail_lines_max,
        mail_from: match &notify.mail_from {
            ReversePath::Null => None,
            ReversePath::Mailbox(mailbox) => Some(mailbox.clone()),
        },
        reverse_path: config.spool.bounce_sender.clone(),
    }
}

/// Puts notices into the spool, from where they leave as reports do: as they are, and never answered with a report.
pub(super) struct Spooler {
    queue: Queue,
    couriers: Arc<Couriers>,
    composer: Arc<Composer>,
}

impl Spooler {
    pub(super) fn new(queue: Queue, couriers: Arc<Couriers>, composer: Arc<Composer>) -> Spooler {
        Spooler { queue, couriers, composer }
    }
}

/// Why nothing of our own leaves where each client logs in upstream as itself.
const NO_LOGIN: &str = "no notices by mail can be sent here: the upstream server takes mail only from people logged in as themselves \
    (auth = \"passthrough\"), and waxseal has no login of its own there. The Activity page and webhooks tell the same";

impl Postman for Spooler {
    fn cannot_post(&self, org: &OrgName) -> Option<&'static str> {
        self.couriers.is_passthrough(org.as_str()).then_some(NO_LOGIN)
    }

    fn post(&self, org: OrgName, login: String, envelope: Envelope, raw: Bytes) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let id = MessageId(getrandom::u64().map_err(|error| error.to_string())?);
            let now_ms = now_ms();
            let recipients = envelope.recipients.len();
            let state = State::waiting(recipients, now_ms);
            let record = Record {
                id,
                accepted_at_ms: now_ms,
                org: org.as_str().to_owned(),
                login: Some(login),
                own_report: true,
                recipe: self.composer.plain_recipe(recipients),
                via: self.queue.via(org.as_str()),
                envelope,
                first_state: state.clone(),
                raw,
            };
            let kept = self.queue.keep(record, KEEP_MAX).await;
            kept.map_err(|why| why.map_or_else(|| "the disk takes too long".to_owned(), |error| error.to_string()))?;
            self.queue.adopt(id, &state);
            Ok(())
        })
    }
}
