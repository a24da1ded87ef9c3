//! Log set-up: one subscriber, to standard error, as `[log]` says.
//!
//! **Invariant:** nothing is logged in place of an answer: a log that cannot be written stops no mail.

use std::io;

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What `[log]` chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// From which level on.
    pub level: Level,
    /// For people or for programs.
    pub format: Format,
    /// Whether mail addresses stand in the log.
    pub addresses: Addresses,
}

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// What an operator must mend.
    Error,
    /// What an operator should know.
    Warn,
    /// A line or two a mail.
    #[default]
    Info,
    /// Every step, peers that hang up.
    Debug,
    /// Everything, what libraries say included.
    Trace,
}

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A line for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether mail addresses stand in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addresses {
    /// As they are.
    #[default]
    Full,
    /// As a keyed hash that lasts until the next start.
    Hashed,
}

/// The global subscriber is set already: the process has called [`init`] before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("logging is set up already")]
pub struct AlreadySet;

/// Sends every log line of this process to standard error. `seed` keys the hashes of `log_addresses = "hashed"`: random, per start.
///
/// # Errors
/// [`AlreadySet`] at a second call, which changes nothing.
pub fn init(options: Options, seed: [u8; 32]) -> Result<(), AlreadySet> {
    // Also takes what libraries say through the `log` crate.
    subscriber(options, io::stderr).try_init().map_err(|_| AlreadySet)?;
    super::address::set(options.addresses, seed);
    Ok(())
}

/// The subscriber for these options, writing where it is told.
pub fn subscriber<W>(options: Options, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer).with_ansi(false).with_target(false);
    let layer = match options.format {
        Format::Text => layer.boxed(),
        Format::Json => layer.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
    };
    Box::new(tracing_subscriber::registry().with(layer.with_filter(filter(options.level))))
}

/// Our own lines from `level` on; libraries only when they warn, unless everything is asked for.
fn filter(level: Level) -> Targets {
    let own = match level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => return Targets::new().with_default(LevelFilter::TRACE),
    };
    Targets::new().with_default(own.min(LevelFilter::WARN)).with_target(env!("CARGO_CRATE_NAME"), own)
}
