//! `[limits]`: everything that grows has one (DESIGN, promise 7). Each has its key, its default and the reason for that number
//! here and in the shipped `config.toml`.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::file::{File, Section};
use super::problem::Wrong;

/// What becomes of a CR or LF that stands alone in a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BareNewlines {
    /// Bare LF becomes CRLF, bare CR a space, at reception.
    #[default]
    Normalize,
    /// The mail is refused at its end.
    Reject,
}

/// Whether a change takes effect at SIGHUP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// It holds for what begins after it: the next connection, the next mail.
    Effect,
    /// A queue, a pool or a permit count is made once.
    Restart,
}

/// How a limit's number becomes its type, and how it is shown.
pub(super) trait Value: Sized {
    fn of(number: u64) -> Self;
    fn number(&self) -> u64;
}

impl Value for u64 {
    fn of(number: u64) -> u64 {
        number
    }
    fn number(&self) -> u64 {
        *self
    }
}

impl Value for usize {
    fn of(number: u64) -> usize {
        usize::try_from(number).unwrap_or(usize::MAX)
    }
    fn number(&self) -> u64 {
        u64::try_from(*self).unwrap_or(u64::MAX)
    }
}

impl Value for Duration {
    fn of(number: u64) -> Duration {
        Duration::from_secs(number)
    }
    fn number(&self) -> u64 {
        self.as_secs()
    }
}

/// One row a limit: reason, field, type, key, default, range, when a change takes effect.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $key:literal, $default:literal, $range:expr, $takes:ident;)+) => {
        /// `[limits]`, every one within its range.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct LimitsConfig {
            $($(#[doc = $doc])+ pub $field: $type,)+
            /// What becomes of a CR or LF that stands alone.
            pub bare_newlines: BareNewlines,
        }

        impl Default for LimitsConfig {
            fn default() -> LimitsConfig {
                LimitsConfig { $($field: <$type as Value>::of($default),)+ bare_newlines: BareNewlines::default() }
            }
        }

        impl LimitsConfig {
            pub(super) fn read(file: &File<'_>) -> LimitsConfig {
                let section = file.section("limits");
                let limits = LimitsConfig {
                    $($field: limit(&section, $key, $default, $range),)+
                    bare_newlines: section.choice("bare_newlines", BARE_NEWLINES).unwrap_or_default(),
                };
                section.finish();
                limits
            }

            /// Every limit: key, value as written, when a change of it takes effect.
            pub(super) fn rows(&self) -> Vec<(&'static str, String, Takes)> {
                vec![
                    $(($key, self.$field.number().to_string(), Takes::$takes),)+
                    ("bare_newlines", format!("\"{}\"", self.bare_newlines), Takes::Effect),
                ]
            }
        }
    };
}

limits! {
    // Mail clients.
    /// Largest mail, octets as announced in SIZE (RFC 1870); 25 MiB is what Gmail takes, so that upstream's limit is the one that is met.
    message_bytes_max: usize = "message_bytes_max", 26_214_400, 65_536..=1_073_741_824, Effect;
    /// Recipients of one mail; 100 is the least a server must take (RFC 5321 §4.5.3.1.8).
    recipients_max: usize = "recipients_max", 100, 1..=10_000, Effect;
    /// Octets of a command line with its end; 512 is the least. AUTH and its responses may have 12,288 whatever stands here (RFC 4954 §4).
    command_line_bytes_max: usize = "command_line_bytes_max", 4_096, 512..=65_536, Effect;
    /// Connections in all; an idle one costs some 5 KiB, with TLS 40 KiB.
    connections_max: usize = "connections_max", 1_000, 1..=100_000, Restart;
    /// Connections from one address; an office behind one address with a few clients each.
    connections_per_address_max: usize = "connections_per_address_max", 50, 1..=100_000, Restart;
    /// How long a connection may last; enough for the largest mail at the slowest rate allowed in `data_bytes_per_sec_min`, several times.
    session_max: Duration = "session_secs_max", 1_800, 60..=86_400, Effect;
    /// How long a client may be silent between commands; 5 minutes as RFC 5321 §4.5.3.2.7 asks.
    idle_max: Duration = "idle_secs_max", 300, 10..=3_600, Effect;
    /// How long one command line may take once it has begun; a person who types needs less.
    command_max: Duration = "command_secs_max", 60, 5..=3_600, Effect;
    /// Slowest content, averaged over `data_window_secs`; below a modem's rate it is an attack on memory.
    data_bytes_per_sec_min: u64 = "data_bytes_per_sec_min", 500, 0..=1_048_576, Effect;
    /// Over how long that is averaged: a client on a train stands still for some of it and makes up for it.
    data_window: Duration = "data_window_secs", 60, 1..=1_800, Effect;
    /// How long a client may leave our replies unread; a minute is more than any that lives needs.
    write_max: Duration = "write_secs_max", 60, 1..=600, Effect;
    /// How long a client waits for room among `in_flight_bytes_max` before it is told to come again: it has minutes (RFC 5321 §4.5.3.2.4).
    room_wait_max: Duration = "room_wait_secs_max", 10, 0..=120, Effect;
    /// How long a login may take to be judged, waiting for its turn included; programs give up after a minute. Upstream's own judging (passthrough) gets 25 s at most.
    login_max: Duration = "login_secs_max", 30, 5..=120, Effect;
    /// Refused commands before the connection is closed; honest clients make one or two.
    command_errors_max: u32 = "command_errors_max", 20, 1..=1_000, Effect;
    /// Failed logins before the connection is closed; a client that stored an old password tries two or three times.
    auth_failures_max: u32 = "auth_failures_max", 5, 1..=100, Effect;
    /// Refused commands and logins on one connection that are answered at once.
    command_errors_free_max: u32 = "command_errors_free_max", 10, 0..=1_000, Effect;
    /// How long each further one waits for its answer; guessing and scanning cost time then.
    command_error_delay: Duration = "command_error_delay_secs", 1, 0..=30, Effect;
    /// Failed logins, over all connections, of one login from one network before the next try has to wait; the wait doubles.
    login_failures_free_max: u32 = "login_failures_free_max", 10, 1..=1_000, Effect;
    /// The same from one address whatever the login; an office behind one address has several people who mistype.
    login_failures_per_address_free_max: u32 = "login_failures_per_address_free_max", 50, 1..=10_000, Effect;
    /// The longest of these waits: long enough to make guessing pointless, short enough to sit out.
    login_wait_max: Duration = "login_wait_secs_max", 900, 10..=86_400, Effect;
    /// Mails one login may send within an hour; 0 is no limit. A person sends tens, a program some hundreds.
    user_messages_per_hour_max: u64 = "user_messages_per_hour_max", 1_000, 0..=1_000_000_000, Effect;
    /// The same within a day.
    user_messages_per_day_max: u64 = "user_messages_per_day_max", 5_000, 0..=1_000_000_000, Effect;
    /// Recipients one login may send to within an hour; 0 is no limit.
    user_recipients_per_hour_max: u64 = "user_recipients_per_hour_max", 2_500, 0..=1_000_000_000, Effect;
    /// The same within a day; 10,000 is what Microsoft 365 allows a mailbox.
    user_recipients_per_day_max: u64 = "user_recipients_per_day_max", 10_000, 0..=1_000_000_000, Effect;
    /// Passwords hashed at one time; each takes a processor and tens of MiB for its duration.
    hashing_concurrency_max: usize = "hashing_concurrency_max", 2, 1..=256, Restart;
    /// Logins that may wait for their turn to be hashed; with two at a time and 20 ms each, 64 are served within a second.
    hashing_waiting_max: usize = "hashing_waiting_max", 64, 1..=100_000, Restart;
    /// How long one waits for its turn; then it is told to come again, which every program does.
    hashing_wait_max: Duration = "hashing_wait_secs_max", 5, 1..=60, Restart;
    /// Octets of mail in memory over all connections; ten of the largest mails.
    in_flight_bytes_max: usize = "in_flight_bytes_max", 268_435_456, 65_536..=1_099_511_627_776, Restart;
    /// The same of one login, or of one address of a trusted network: two of the largest mails and some. The largest mail must fit.
    in_flight_bytes_per_sender_max: usize = "in_flight_bytes_per_sender_max", 67_108_864, 65_536..=1_099_511_627_776, Effect;
    /// `Received:` fields before a mail is taken for a loop (RFC 5321 §6.3 asks for at least 100 to be let through by relays that cannot tell; a submission never has that many).
    received_headers_max: usize = "received_headers_max", 50, 10..=1_000, Effect;
    /// TLS handshake with a mail client.
    tls_handshake_max: Duration = "tls_handshake_secs_max", 15, 1..=120, Effect;

    // The rewriter. Over any of these a mail leaves as it came, untracked; it is never refused for them.
    /// Octets of a mail's header; Postfix takes 100 KiB.
    header_bytes_max: usize = "header_bytes_max", 262_144, 1_024..=16_777_216, Restart;
    /// Lines of a mail's header.
    header_lines_max: usize = "header_lines_max", 2_000, 50..=100_000, Restart;
    /// MIME parts; real mail has some tens.
    parts_max: usize = "parts_max", 1_000, 1..=100_000, Restart;
    /// How deep parts may stand in one another; Postfix stops at 100, a deep parse costs stack.
    nesting_max: usize = "nesting_max", 50, 1..=100, Restart;
    /// Octets of one text part after its transfer encoding is undone.
    decoded_bytes_max: usize = "decoded_bytes_max", 10_485_760, 1_024..=1_073_741_824, Restart;
    /// Tracked links in one mail; a token has room for 65,536.
    links_max: usize = "links_max", 10_000, 1..=65_535, Restart;
    /// What the HTML reader may hold at once: the longest tag, in effect.
    html_memory_bytes_max: usize = "html_memory_bytes_max", 4_194_304, 65_536..=268_435_456, Restart;

    // The upstream server.
    /// Connections to upstream at one time; many providers allow ten.
    upstream_connections_max: usize = "upstream_connections_max", 8, 1..=1_000, Restart;
    /// Making a connection, over all addresses of the host.
    upstream_connect_max: Duration = "upstream_connect_secs_max", 10, 1..=300, Restart;
    /// Answer to one command.
    upstream_command_max: Duration = "upstream_command_secs_max", 60, 5..=600, Restart;
    /// Answer to the final dot; 10 minutes as RFC 5321 §4.5.3.2.6 asks, for giving up early makes duplicates.
    upstream_dot_max: Duration = "upstream_dot_secs_max", 600, 30..=1_800, Restart;
    /// How long an unused connection is kept for the next mail.
    upstream_idle_max: Duration = "upstream_idle_secs_max", 30, 0..=300, Restart;
    /// Mails sent over one connection before a new one is made; some servers cut a connection off after a hundred.
    upstream_mails_per_connection_max: u32 = "upstream_mails_per_connection_max", 100, 1..=10_000, Restart;
    /// Logins of one organisation tried upstream at one time, with `auth = "passthrough"`.
    upstream_logins_max: usize = "upstream_logins_max", 8, 1..=1_000, Restart;
    /// Sessions of one organisation that hold a way upstream of their own, with `auth = "passthrough"`: one connection each while
    /// it lasts, `[spool] parallel_max` while a mail goes out.
    upstream_sessions_max: usize = "upstream_sessions_max", 200, 1..=100_000, Restart;
    /// Logins tried upstream within a minute, of all users of an organisation: a provider closes its door to an address that asks
    /// too often. As many again from addresses where their login has succeeded before, which strangers cannot use up.
    upstream_logins_per_minute_max: u32 = "upstream_logins_per_minute_max", 120, 1..=100_000, Effect;
    /// The same of one user; a program that connects for every mail logs in each time.
    upstream_logins_per_user_per_minute_max: u32 = "upstream_logins_per_user_per_minute_max", 30, 1..=100_000, Effect;
    /// How long the message record may take to be durable; after that the mail goes out untracked (DESIGN 4.4).
    record_max: Duration = "record_secs_max", 2, 1..=30, Restart;

    // The tracking site, the dashboard and the inbox.
    /// Connections to the tracking site.
    web_connections_max: usize = "web_connections_max", 4_096, 16..=100_000, Restart;
    /// Reading one request's head, and idling between two.
    web_request_max: Duration = "web_request_secs_max", 10, 1..=120, Restart;
    /// Links that do not open, from one address in a minute, before the next are answered 429; those that open are never limited.
    bad_tokens_per_minute_max: u32 = "bad_tokens_per_minute_max", 60, 1..=1_000_000, Restart;
    /// Octets of one request's head at the tracking site; a token takes up to 2.8 KB, a proxy may add a few KiB of its own.
    web_head_bytes_max: usize = "web_head_bytes_max", 16_384, 8_192..=1_048_576, Restart;
    /// How long a connection to the tracking site may live, however busy; a proxy that keeps its own makes another.
    web_connection_max: Duration = "web_connection_secs_max", 300, 10..=86_400, Restart;
    /// Connections to the dashboard; a page needs two, and one more while it shows events as they come.
    admin_connections_max: usize = "admin_connections_max", 256, 8..=10_000, Restart;
    /// Reading one request's head at the dashboard, and idling between two.
    admin_head_max: Duration = "admin_head_secs_max", 10, 1..=120, Restart;
    /// Answering one request there; a test mail waits for upstream, which may take `budget_secs` of `[spool]`.
    admin_request_max: Duration = "admin_request_secs_max", 30, 5..=600, Restart;
    /// How long a client there may take nothing of its answer.
    admin_write_max: Duration = "admin_write_secs_max", 30, 5..=600, Restart;
    /// Octets of one request's body there; a list of consents is the largest.
    admin_body_bytes_max: usize = "admin_body_bytes_max", 65_536, 16_384..=16_777_216, Restart;
    /// Events waiting for the disk; beyond it they are lost, and counted. 65,536 are some 20 MiB.
    event_queue_max: usize = "event_queue_max", 65_536, 64..=4_194_304, Restart;
    /// Logins tried at the dashboard, from one address in a minute.
    login_attempts_per_minute_max: u32 = "login_attempts_per_minute_max", 10, 1..=1_000, Restart;
    /// How long a dashboard login lasts when it is not used.
    admin_session_idle_max: Duration = "admin_session_idle_secs_max", 3_600, 60..=604_800, Restart;
    /// How long a dashboard login lasts at all: a working day.
    admin_session_max: Duration = "admin_session_secs_max", 43_200, 300..=2_592_000, Restart;
    /// How long a stop waits for mails that are being handed on; what is cut off then is answered by nobody and sent again.
    shutdown_max: Duration = "shutdown_secs_max", 30, 1..=900, Restart;
    /// How often it is looked what has become too old.
    forget_every: Duration = "forget_every_secs", 86_400, 60..=2_592_000, Restart;
    /// Events looked at in one slice of forgetting: some 2 ms of the history's one writer, for which mail waits.
    forget_events_max: u32 = "forget_events_max", 500, 10..=100_000, Restart;
    /// Messages forgotten in one slice, with their recipients and links.
    forget_messages_max: u32 = "forget_messages_max", 20, 1..=10_000, Restart;
    /// Milliseconds between two slices: the writer is free most of the time.
    forget_pause_ms: u64 = "forget_pause_ms", 100, 0..=60_000, Restart;
    /// Mails kept in the built-in inbox; the oldest go.
    inbox_messages_max: usize = "inbox_messages_max", 1_000, 1..=100_000, Restart;
}

impl Value for u32 {
    fn of(number: u64) -> u32 {
        u32::try_from(number).unwrap_or(u32::MAX)
    }
    fn number(&self) -> u64 {
        u64::from(*self)
    }
}

impl fmt::Display for BareNewlines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BareNewlines::Normalize => "normalize",
            BareNewlines::Reject => "reject",
        })
    }
}

const BARE_NEWLINES: &[(&str, BareNewlines)] =
    &[("normalize", BareNewlines::Normalize), ("reject", BareNewlines::Reject)];

/// Waits that a list of them may name.
const WAITS_MAX: usize = 20;
/// The longest wait between two attempts: a day.
pub(super) const WAIT_SECS_MAX: u64 = 86_400;

/// `retry_secs`: the waits between attempts, none below the one before; `usual` where they are not written or wrong.
pub(super) fn retry_waits(section: &Section<'_, '_>, usual: &[u64]) -> Vec<Duration> {
    let as_usual = || usual.iter().copied().map(Value::of).collect();
    let Some(waits) = section.numbers("retry_secs", 1..=WAIT_SECS_MAX, usual) else { return as_usual() };
    if waits.is_empty() || waits.len() > WAITS_MAX {
        section.wrong("retry_secs", Wrong::Count { given: waits.len(), min: 1, max: WAITS_MAX });
        return as_usual();
    }
    if let Some((before, after)) = waits.iter().zip(waits.iter().skip(1)).find(|(before, after)| after < before) {
        section.wrong("retry_secs", Wrong::Shrinks { before: *before, after: *after });
        return as_usual();
    }
    waits.into_iter().map(Value::of).collect()
}

/// A number of this range, as what it means; `usual` where it is not written or wrong.
pub(super) fn limit<T: Value>(
    section: &Section<'_, '_>,
    key: &'static str,
    usual: u64,
    range: RangeInclusive<u64>,
) -> T {
    T::of(section.number(key, range, usual).unwrap_or(usual))
}
