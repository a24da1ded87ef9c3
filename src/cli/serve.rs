//! `waxseal serve`: the relay, the tracking site and the dashboard, until SIGTERM or SIGINT; SIGHUP reads the config again.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::notify::Notifier;
use crate::app::{App, example_command};
use crate::config::load::Source;
use crate::config::{Config, Parsed, Problem, UpstreamConfig};
use crate::telemetry::log;

/// Runs until told to stop.
///
/// # Errors
/// What stands in the way, in words for the operator.
pub(super) fn serve(path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let (source, parsed) = read(path)?;
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).context("the system gives no random numbers")?;
    log::init(parsed.config.log, seed)?;
    for warning in &parsed.warnings {
        tracing::warn!("{}", warning.in_file(&source.name));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(path, parsed.config))?;
    Ok(ExitCode::SUCCESS)
}

async fn run(path: Option<&Path>, config: Config) -> anyhow::Result<()> {
    // Before anything listens: a SIGTERM must never find us without a hand to stop in order.
    let mut signals = Signals::install()?;
    let shown = config.clone();
    let mut app = App::start(config).await?;
    println!("{}", what_next(&shown, &app.take_first_password()));
    let notifier = Notifier::from_environment();
    notifier.ready();
    let alive = notifier.watchdog().map(tokio::time::interval);
    let mut alive = alive.map(|mut every| {
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        every
    });
    loop {
        let told = tokio::select! {
            told = signals.next() => told,
            // From the runtime that serves: when that hangs, nobody says so.
            () = tick(&mut alive) => {
                notifier.alive();
                continue;
            }
        };
        match told {
            Told::Reload => {
                notifier.reloading();
                reload(&mut app, path).await;
                notifier.ready();
            }
            Told::Stop => break,
        }
    }
    notifier.stopping();
    tracing::info!("stopping: no new mail is taken, mail under way is finished");
    app.stop().await;
    tracing::info!("stopped");
    Ok(())
}

async fn tick(every: &mut Option<tokio::time::Interval>) {
    match every {
        Some(every) => drop(every.tick().await),
        None => std::future::pending().await,
    }
}

/// Reads the config again. A bad file changes nothing.
async fn reload(app: &mut App, path: Option<&Path>) {
    let parsed = match read(path) {
        Ok((_, parsed)) => parsed,
        Err(error) => {
            tracing::error!("the config was not read again, the old one stays in force: {error:#}");
            return;
        }
    };
    match app.reload(parsed.config).await {
        Ok(lines) if lines.is_empty() => tracing::info!("config read again: no changes; certificates read again"),
        Ok(lines) => lines.iter().for_each(|line| tracing::info!("config read again: {line}")),
        Err(error) => tracing::error!("the config was read but could not be taken over whole: {error:#}"),
    }
}

fn read(path: Option<&Path>) -> anyhow::Result<(Source, Parsed)> {
    let told = |problem: &Problem, name: &str| problem.in_file(name).to_string();
    let source = Source::fetch(path).map_err(|problem| anyhow::anyhow!("{}", told(&problem, "config")))?;
    match source.parse() {
        Ok(parsed) => Ok((source, parsed)),
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(|problem| told(problem, &source.name)).collect();
            bail!("{}", lines.join("\n"))
        }
    }
}

/// What a person does next: the password once, then four lines.
fn what_next(config: &Config, password: &Option<String>) -> String {
    let mut lines = Vec::new();
    if let Some(password) = password {
        lines.push(format!("Dashboard login   admin  {password}   (shown only this once)"));
    }
    lines.push(format!("Dashboard         http://{}/", config.web.admin));
    lines.push(match config.upstream {
        UpstreamConfig::Inbox => format!("Send a test mail  {}", example_command(config)),
        UpstreamConfig::Smtp(_) => "Send a test mail  from the dashboard, or point a mail client here".to_owned(),
    });
    let keys = config.server.data_dir.join(crate::store::KEYS_FILE);
    lines.push(format!("Back up           {}   every link you ever send needs it", keys.display()));
    lines.push("Documentation     README.md and docs/; `waxseal check` looks over the configuration".to_owned());
    lines.join("\n")
}

enum Told {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn install() -> anyhow::Result<Signals> {
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hangup.recv() => Told::Reload,
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
        }
    }
}
