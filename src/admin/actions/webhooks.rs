//! Webhooks: who may have which programs told of what.
//!
//! **Invariant:** nobody has told to a program what they may not see themselves. A sender's webhook is about the sender's own
//! mail; an organisation admin's is about everybody's and names nobody; only a server admin may have everybody's names told,
//! and then only server admins may change where they go.

use std::collections::BTreeMap;

use super::{Actions, Refusal};
use crate::admin::viewer::Viewer;
use crate::notify::target::Target;
use crate::notify::{Notify, signature::SigningSecret};
use crate::settings::OrgName;
use crate::settings::notices::{Level, Topic, Webhook, WebhookId};
use crate::store::outbox::{DeliveryStage, Dropped, WebhookDelivery};
use crate::store::{Change, Snapshot};

/// Most deliveries of one answer.
pub const DELIVERIES_MAX: u32 = 100;

/// A webhook to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWebhook {
    /// Whose mail it is about; `None`: the viewer's organisation.
    pub org: Option<OrgName>,
    /// Only this sender's mail; `None`: everybody's.
    pub login: Option<String>,
    /// Where it is.
    pub url: String,
    /// What it is told of.
    pub topics: Vec<Topic>,
    /// Which opens.
    pub level: Level,
    /// Recipients and subjects of everybody's mail too. A sender's own are always told.
    pub words: bool,
}

/// What is to change of a webhook; `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookChange {
    /// Where it is.
    pub url: Option<String>,
    /// What it is told of.
    pub topics: Option<Vec<Topic>>,
    /// Which opens.
    pub level: Option<Level>,
    /// Whether it rests.
    pub paused: Option<bool>,
}

impl Actions {
    fn telling(&self) -> Result<&Notify, Refusal> {
        self.notify.as_deref().ok_or(Refusal::Absent("this server tells no webhooks"))
    }

    /// The webhooks the viewer may change, by organisation, the oldest first.
    pub fn webhooks(&self, viewer: &Viewer) -> Vec<Webhook> {
        let snapshot = self.settings.snapshot();
        let mut seen: Vec<Webhook> =
            snapshot.webhooks.values().filter(|webhook| may_change(viewer, webhook)).cloned().collect();
        seen.sort_by(|a, b| (&a.org, a.created_at_ms, a.id).cmp(&(&b.org, b.created_at_ms, b.id)));
        seen
    }

    /// One webhook.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it is not there or not the viewer's to change.
    pub fn webhook(&self, viewer: &Viewer, id: WebhookId) -> Result<Webhook, Refusal> {
        let found = self.settings.snapshot().webhooks.get(&id).filter(|webhook| may_change(viewer, webhook)).cloned();
        found.ok_or_else(|| Refusal::not_found("webhook", id))
    }

    /// Events that found no room, by webhook. For those who show webhooks the viewer may change.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(in crate::admin) async fn webhooks_dropped(&self) -> Result<BTreeMap<WebhookId, Dropped>, Refusal> {
        match &self.notify {
            Some(notify) => Ok(notify.dropped().await?),
            None => Ok(BTreeMap::new()),
        }
    }

    /// Makes a webhook, with a secret that is shown only now.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for an organisation or login that is not the viewer's to know of; [`Refusal::Forbidden`] for more
    /// than the viewer may see; [`Refusal::Invalid`] for an address that cannot be told; [`Refusal::Conflict`] beyond the bound.
    pub async fn add_webhook(&self, viewer: &Viewer, new: NewWebhook) -> Result<(Webhook, SigningSecret), Refusal> {
        let notify = self.telling()?;
        let NewWebhook { org, login, url, topics, level, words } = new;
        let own_org = match viewer {
            Viewer::Person(person) => person.org.clone(),
            Viewer::Operator => None,
        };
        let org =
            org.or(own_org).ok_or_else(|| Refusal::invalid("org", "name the organisation whose mail it is about"))?;
        let url = url_fit(notify, &url)?;
        let topics = topics_fit(topics)?;
        let id = getrandom::u64().map(WebhookId);
        let id = id.map_err(|_| Refusal::Port(super::PortError("the system gives no random numbers".to_owned())))?;
        let (secret, sealed_secret) = notify.new_secret()?;
        let held = self.changing(viewer).await;
        let snapshot = self.settings.snapshot();
        may_add(viewer, &snapshot, &org, login.as_deref(), words)?;
        let there = snapshot.webhooks.values().filter(|webhook| webhook.org == org).count();
        if there >= notify.options().webhooks_max {
            return Err(Refusal::Conflict(format!("{org} has {there} webhooks already: per_org_max in [webhooks]")));
        }
        let words = words || login.is_some();
        let created_at_ms = jiff::Timestamp::now().as_millisecond();
        let webhook =
            Webhook { id, org, login, url, topics, level, words, paused: false, sealed_secret, created_at_ms };
        self.write(&held, Change::PutWebhook(webhook.clone())).await?;
        Ok((webhook, secret))
    }

    /// Changes a webhook, provided that it is still as the caller has `seen` it.
    ///
    /// # Errors
    /// As [`Actions::webhook`]; [`Refusal::Invalid`]; [`Refusal::Changed`].
    pub async fn change_webhook(
        &self,
        viewer: &Viewer,
        id: WebhookId,
        change: WebhookChange,
        seen: impl FnOnce(&Webhook) -> bool + Send,
    ) -> Result<Webhook, Refusal> {
        let notify = self.telling()?;
        let held = self.changing(viewer).await;
        let mut webhook = self.webhook(viewer, id)?;
        if !seen(&webhook) {
            return Err(Refusal::Changed);
        }
        let WebhookChange { url, topics, level, paused } = change;
        if let Some(url) = url {
            webhook.url = url_fit(notify, &url)?;
        }
        if let Some(topics) = topics {
            webhook.topics = topics_fit(topics)?;
        }
        webhook.level = level.unwrap_or(webhook.level);
        webhook.paused = paused.unwrap_or(webhook.paused);
        self.write(&held, Change::PutWebhook(webhook.clone())).await?;
        notify.look_again();
        Ok(webhook)
    }

    /// Removes a webhook, with what waits for it.
    ///
    /// # Errors
    /// As [`Actions::webhook`].
    pub async fn remove_webhook(&self, viewer: &Viewer, id: WebhookId) -> Result<(), Refusal> {
        let notify = self.telling()?;
        let held = self.changing(viewer).await;
        self.webhook(viewer, id)?;
        self.write(&held, Change::RemoveWebhook(id)).await?;
        Ok(notify.forget(id).await?)
    }

    /// Sends a test.
    ///
    /// # Errors
    /// As [`Actions::webhook`]; [`Refusal::Conflict`] while it is paused.
    pub async fn test_webhook(&self, viewer: &Viewer, id: WebhookId) -> Result<(), Refusal> {
        let webhook = self.webhook(viewer, id)?;
        if webhook.paused {
            return Err(Refusal::Conflict("it is paused; resume it first".to_owned()));
        }
        Ok(self.telling()?.test(&webhook).await?)
    }

    /// Deliveries of a webhook, newest first.
    ///
    /// # Errors
    /// As [`Actions::webhook`].
    pub async fn webhook_deliveries(
        &self,
        viewer: &Viewer,
        id: WebhookId,
        stage: Option<DeliveryStage>,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<WebhookDelivery>, Refusal> {
        let webhook = self.webhook(viewer, id)?;
        Ok(self.telling()?.deliveries(webhook.id, stage, before, limit.clamp(1, DELIVERIES_MAX)).await?)
    }

    /// Makes one delivery, or all that failed, due again; how many.
    ///
    /// # Errors
    /// As [`Actions::webhook`]; [`Refusal::NotFound`] for a delivery that is not there.
    pub async fn replay_webhook(&self, viewer: &Viewer, id: WebhookId, delivery: Option<i64>) -> Result<u64, Refusal> {
        let webhook = self.webhook(viewer, id)?;
        let replayed = self.telling()?.replay(webhook.id, delivery).await?;
        match (replayed, delivery) {
            (0, Some(delivery)) => Err(Refusal::not_found("delivery", delivery)),
            _ => Ok(replayed),
        }
    }
}

fn may_change(viewer: &Viewer, webhook: &Webhook) -> bool {
    match (&webhook.login, viewer) {
        _ if viewer.rules_all() => true,
        (Some(login), _) => viewer.login() == Some(login) && viewer.belongs_to(&webhook.org),
        (None, _) => viewer.rules(&webhook.org) && !webhook.words,
    }
}

fn may_add(
    viewer: &Viewer,
    snapshot: &Snapshot,
    org: &OrgName,
    login: Option<&str>,
    words: bool,
) -> Result<(), Refusal> {
    if !snapshot.orgs.contains_key(org) || !viewer.belongs_to(org) {
        return Err(Refusal::not_found("organisation", org.as_str()));
    }
    match login {
        Some(login) => {
            let theirs = snapshot.users.get(login).is_some_and(|user| user.org.as_ref() == Some(org));
            if !theirs || !(viewer.rules_all() || viewer.login() == Some(login)) {
                return Err(Refusal::not_found("user", login));
            }
        }
        None if !viewer.rules(org) => {
            return Err(Refusal::Forbidden("only an admin may have a program told of everybody's mail"));
        }
        None if words && !viewer.rules_all() => {
            return Err(Refusal::Forbidden(
                "only a server admin may have recipients and subjects of everybody's mail told; counts can be",
            ));
        }
        None => {}
    }
    Ok(())
}

fn url_fit(notify: &Notify, url: &str) -> Result<String, Refusal> {
    let url = url.trim();
    let target = Target::parse(url, notify.options().allow_private);
    target.map(|_| url.to_owned()).map_err(|wrong| Refusal::invalid("url", wrong.to_string()))
}

fn topics_fit(mut topics: Vec<Topic>) -> Result<Vec<Topic>, Refusal> {
    topics.sort_unstable();
    topics.dedup();
    if topics.is_empty() {
        return Err(Refusal::invalid(
            "topics",
            "choose at least one of message.opened, message.clicked, message.bounced",
        ));
    }
    Ok(topics)
}
