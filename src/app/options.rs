//! What the config says to each part, in the part's own terms.

use std::time::Duration;

use crate::config::{self, Config, LimitsConfig, UpstreamConfig, limits::BareNewlines};
use crate::deliver::predict;
use crate::listener;
use crate::relay;
use crate::rewrite;
use crate::smtp::{self, session};
use crate::store::{self, logins::LoginOptions};
use crate::web::{self, client::ForwardedBy};

/// Beside a message that is read there is room for what one read brings.
const READ_AHEAD_BYTES: usize = 64 * 1024;

pub(super) fn listener(config: &Config) -> listener::Options {
    let limits = &config.limits;
    let mut session = session::Options::new(config.server.hostname.clone());
    session.message_bytes_max = limits.message_bytes_max;
    session.recipients_max = limits.recipients_max;
    session.line_bytes_max = limits.command_line_bytes_max;
    session.command_errors_max = limits.command_errors_max;
    session.auth_failures_max = limits.auth_failures_max;
    session.dsn = true;
    session.bearer_logins = config.any_passthrough();
    session.bare_newlines = match limits.bare_newlines {
        BareNewlines::Normalize => smtp::data::BareNewlines::Normalize,
        BareNewlines::Reject => smtp::data::BareNewlines::Reject,
    };
    let mut options = listener::Options::new(session);
    options.connections_max = limits.connections_max;
    options.connections_per_address_max = limits.connections_per_address_max;
    options.session_max = limits.session_max;
    options.idle_max = limits.idle_max;
    options.command_max = limits.command_max;
    options.data_bytes_per_sec_min = limits.data_bytes_per_sec_min;
    options.data_window = limits.data_window;
    options.write_max = limits.write_max;
    options.room_wait_max = limits.room_wait_max;
    options.login_max = limits.login_max;
    options.tls_handshake_max = limits.tls_handshake_max;
    options.in_flight_bytes_max = limits.in_flight_bytes_max;
    let largest = limits.message_bytes_max.saturating_add(READ_AHEAD_BYTES);
    options.in_flight_bytes_per_sender_max = limits.in_flight_bytes_per_sender_max.max(largest);
    options.grace_max = limits.shutdown_max;
    options.errors_free_max = limits.command_errors_free_max;
    options.error_delay = limits.command_error_delay;
    options
}

pub(super) fn relay(config: &Config) -> relay::Options {
    let (limits, spool) = (&config.limits, &config.spool);
    relay::Options {
        hostname: config.server.hostname.clone(),
        received_headers_max: limits.received_headers_max,
        split_recipients_max: spool.split_recipients_max,
        record_max: limits.record_max,
        predict: predict::Rules {
            copies_max: spool.copies_max,
            bytes_max: spool.copies_bytes_max,
            budget_ms: i64::try_from(spool.budget.as_millis()).unwrap_or(i64::MAX),
            in_flight_max: spool.in_flight_max,
        },
        budget: spool.budget,
        keep_by: spool.record_by,
        dot: limits.upstream_dot_max,
        parallel_max: spool.parallel_max,
        logins: relay::throttle::Limits {
            per_login_free: limits.login_failures_free_max,
            per_source_free: limits.login_failures_per_address_free_max,
            wait_max: limits.login_wait_max,
        },
        login_max: limits.login_max,
        allowance: relay::allowance::Allowance {
            messages_per_hour: limits.user_messages_per_hour_max,
            messages_per_day: limits.user_messages_per_day_max,
            recipients_per_hour: limits.user_recipients_per_hour_max,
            recipients_per_day: limits.user_recipients_per_day_max,
        },
        passthrough: relay::passthrough::Limits {
            per_user_per_minute: limits.upstream_logins_per_user_per_minute_max,
            per_minute: limits.upstream_logins_per_minute_max,
            create_users: config.orgs.iter().filter(|org| org.create_users).map(|org| org.name.clone()).collect(),
        },
        show_client: config.privacy.show_client,
    }
}

pub(super) fn logins(limits: &LimitsConfig) -> LoginOptions {
    LoginOptions {
        hashing_concurrency_max: limits.hashing_concurrency_max,
        hashing_waiting_max: limits.hashing_waiting_max,
        hashing_wait_max: limits.hashing_wait_max,
        ..LoginOptions::default()
    }
}

pub(super) fn rewrite(limits: &LimitsConfig) -> rewrite::Limits {
    let mut of = rewrite::Limits::default();
    of.tree.header_bytes_max = limits.header_bytes_max;
    of.tree.header_lines_max = limits.header_lines_max;
    of.tree.parts_max = limits.parts_max;
    of.tree.nesting_max = limits.nesting_max;
    of.text_bytes_max = limits.decoded_bytes_max;
    of.links_max = limits.links_max;
    of.html_memory_bytes_max = limits.html_memory_bytes_max;
    of
}

/// But for what the running program adds: the certificate, and what is shown to a certificate authority.
pub(super) fn tracking(config: &Config) -> web::Options {
    web::Options {
        trusted_proxies: config.web.trusted_proxies.clone(),
        inbox_mode: matches!(config.upstream, UpstreamConfig::Inbox),
        connections_max: config.limits.web_connections_max,
        head_max: config.limits.web_request_max,
        head_bytes_max: config.limits.web_head_bytes_max,
        connection_max: config.limits.web_connection_max,
        event_queue_max: config.limits.event_queue_max,
        bad_tokens_per_minute_max: config.limits.bad_tokens_per_minute_max,
        forwarded_by: forwarded_by(config),
        proxy_protocol: config.web.proxy_protocol,
        more_agents: config.verdicts.more_agents.join("\n"),
        more_networks: config.verdicts.more_networks.join("\n"),
        ..web::Options::default()
    }
}

pub(super) fn forwarded_by(config: &Config) -> ForwardedBy {
    match config.web.forwarded_by {
        config::ForwardedBy::XForwardedFor => ForwardedBy::XForwardedFor,
        config::ForwardedBy::Forwarded => ForwardedBy::Forwarded,
    }
}

pub(super) fn retention(config: &Config) -> store::retention::Options {
    store::retention::Options {
        message_days: config.privacy.messages_days,
        event_days: config.privacy.events_days,
        every: config.limits.forget_every,
        pause: Duration::from_millis(config.limits.forget_pause_ms),
        events_max: config.limits.forget_events_max,
        messages_max: config.limits.forget_messages_max,
    }
}
