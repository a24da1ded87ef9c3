//! The upstream of a config: the built-in inbox or a real server, with connections, breaker, pace and queue.

use std::sync::Arc;

use anyhow::Context;

use super::INBOX_FOLDER;
use crate::config::{Config, SmtpUpstream, UpstreamAuth, UpstreamConfig, UpstreamTls, load};
use crate::deliver::backoff::Schedule;
use crate::deliver::courier::Courier;
use crate::deliver::dial::LocalDial;
use crate::deliver::tls::{Roots, TlsClient};
use crate::deliver::token_command::TokenCommand;
use crate::deliver::{self, Credentials, Login, Security, TcpDial, Upstream};
use crate::inbox::{self, Inbox};
use crate::queue::{self, due};
use crate::relay::passthrough::{Connect, Passthrough};

/// The built-in inbox, when the config says so.
pub(super) fn inbox(config: &Config) -> anyhow::Result<Option<Inbox>> {
    if config.upstream != UpstreamConfig::Inbox {
        return Ok(None);
    }
    let options = inbox::Options {
        hostname: config.server.hostname.clone(),
        message_bytes_max: config.limits.message_bytes_max.saturating_mul(2),
        recipients_max: config.limits.recipients_max,
        messages_max: config.limits.inbox_messages_max,
    };
    let path = config.server.data_dir.join(INBOX_FOLDER);
    Inbox::open(&path, &options).map(Some).with_context(|| format!("cannot open the inbox {}", path.display()))
}

/// The way upstream.
pub(super) fn courier(config: &Config, inbox: Option<&Inbox>) -> anyhow::Result<Courier> {
    let options = client_options(config);
    let (upstream, host, messages_per_minute) = match (&config.upstream, inbox) {
        (UpstreamConfig::Smtp(smtp), _) => (smtp_upstream(smtp, options)?, smtp.host.clone(), smtp.messages_per_minute),
        (UpstreamConfig::Inbox, Some(inbox)) => {
            let inbox = inbox.clone();
            let dial = LocalDial::new("inbox", move || inbox.dial());
            (Upstream::new(dial, Security::None, None, options), "inbox".to_owned(), None)
        }
        (UpstreamConfig::Inbox, None) => anyhow::bail!("the inbox is not open"),
    };
    let structure = super::rewrite_limits(&config.limits).tree;
    Ok(Courier::new(upstream, host, messages_per_minute).following(structure))
}

fn security(smtp: &SmtpUpstream) -> anyhow::Result<Security> {
    let client =
        |roots: &Roots| TlsClient::new(&smtp.host, roots).map_err(|why| anyhow::anyhow!("upstream.tls: {why}"));
    let verified = smtp.ca_file.clone().map_or(Roots::System, Roots::File);
    Ok(match smtp.tls {
        UpstreamTls::StartTls => Security::StartTls(client(&verified)?),
        UpstreamTls::Implicit => Security::Implicit(client(&verified)?),
        UpstreamTls::Opportunistic => Security::Opportunistic(client(&opportunistic_roots(smtp, verified))?),
        UpstreamTls::None => Security::None,
    })
}

fn smtp_upstream(smtp: &SmtpUpstream, options: deliver::Options) -> anyhow::Result<Upstream> {
    let dial = TcpDial::new(smtp.host.clone(), smtp.port, options.connect);
    let upstream = Upstream::new(dial, security(smtp)?, None, options);
    Ok(match &smtp.auth {
        UpstreamAuth::None | UpstreamAuth::Passthrough => upstream,
        UpstreamAuth::Login { username, password_file } => {
            let password =
                load::password(password_file).map_err(|why| anyhow::anyhow!("upstream.password_file: {why}"))?;
            upstream.logging_in(Login::Password(Credentials { username: username.clone(), password }))
        }
        UpstreamAuth::Oauth { username, token_command } => {
            let tokens = Arc::new(TokenCommand::new(token_command.clone()));
            upstream.logging_in(Login::Bearer { username: username.clone(), tokens })
        }
    })
}

/// Where clients log in upstream as themselves.
pub(super) fn passthrough(config: &Config) -> anyhow::Result<Option<Passthrough>> {
    let UpstreamConfig::Smtp(smtp) = &config.upstream else { return Ok(None) };
    if smtp.auth != UpstreamAuth::Passthrough {
        return Ok(None);
    }
    let mut options = client_options(config);
    options.connections_max = options.connections_max.min(config.spool.parallel_max.max(1));
    // For as long as a client may think about its next mail.
    options.idle = config.limits.idle_max;
    let base = Arc::new(WayUpstream::new(smtp, options)?);
    let (host, structure) = (smtp.host.clone(), super::rewrite_limits(&config.limits).tree);
    let messages_per_minute = smtp.messages_per_minute;
    let connect: Connect = Arc::new(move |login| {
        Courier::new(base.upstream().logging_in(login), host.clone(), messages_per_minute).following(structure)
    });
    let passthrough = Passthrough::new(connect, config.limits.upstream_logins_max);
    passthrough.map(Some).context("the system gives no random numbers")
}

/// Everything but the login, read once.
struct WayUpstream {
    dial: TcpDial,
    security: Security,
    options: deliver::Options,
}

impl WayUpstream {
    fn new(smtp: &SmtpUpstream, options: deliver::Options) -> anyhow::Result<WayUpstream> {
        let dial = TcpDial::new(smtp.host.clone(), smtp.port, options.connect);
        Ok(WayUpstream { dial, security: security(smtp)?, options })
    }

    fn upstream(&self) -> Upstream {
        Upstream::new(self.dial.clone(), self.security.clone(), None, self.options.clone())
    }
}

/// With a login the certificate is verified even here: a password is worth an attack.
fn opportunistic_roots(smtp: &SmtpUpstream, verified: Roots) -> Roots {
    if smtp.auth == UpstreamAuth::None { Roots::Anyone } else { verified }
}

fn client_options(config: &Config) -> deliver::Options {
    let limits = &config.limits;
    let mut options = deliver::Options::named(config.server.hostname.clone());
    options.connect = limits.upstream_connect_max;
    options.command = limits.upstream_command_max;
    options.dot = limits.upstream_dot_max;
    options.connections_max = limits.upstream_connections_max;
    options.idle = limits.upstream_idle_max;
    options.mails_per_connection_max = limits.upstream_mails_per_connection_max;
    options
}

pub(super) fn queue_options(config: &Config) -> queue::Options {
    let spool = &config.spool;
    let schedule = Schedule { waits: spool.retry.clone(), life: spool.life, unknown_wait_min: spool.unknown_wait };
    queue::Options {
        hostname: config.server.hostname.clone(),
        bounce_sender: spool.bounce_sender.clone(),
        rules: due::Rules { schedule, delay_notice: spool.delay_notice },
        workers_max: spool.workers_max,
        attempt: queue::ATTEMPT,
        dot: config.limits.upstream_dot_max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// The queue's own defaults and those of the file are the same numbers.
    #[test]
    fn the_shipped_times_are_the_queues() {
        let shipped = Config::parse(config::SHIPPED, std::path::Path::new("/c")).unwrap().config;
        let options = queue_options(&shipped);
        assert_eq!(options.rules, due::Rules { schedule: Schedule::default(), delay_notice: due::DELAY_NOTICE });
    }

    /// A second mail within the minute that one may be sent in waits for the next.
    #[tokio::test]
    async fn messages_per_minute_sets_the_pace() {
        let text = config::SHIPPED.replace(
            "mode = \"inbox\"",
            "mode = \"smtp\"\nhost = \"127.0.0.1\"\ntls = \"none\"\nmessages_per_minute = 1",
        );
        let text = format!("{text}\n").replace("[privacy]", "[privacy]\nconsent = \"none\"");
        let paced = Config::parse(&text, std::path::Path::new("/c")).unwrap().config;
        assert_eq!(courier(&paced, None).unwrap().forecast(2, 1).pace_wait_ms, 60_000);
    }
}
