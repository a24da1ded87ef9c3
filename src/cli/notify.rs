//! What the service manager is told (sd_notify(3)): that we serve, reload, stop, and are still alive.
//!
//! One datagram each to the socket that `NOTIFY_SOCKET` names. Without that variable nobody wants to know.
//!
//! **Invariant:** telling never waits and never fails the program.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager, if there is one.
#[derive(Debug)]
pub(super) struct Notifier {
    to: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// By `NOTIFY_SOCKET`: a path, or `@` and the name of an abstract socket.
    pub(super) fn from_environment() -> Notifier {
        let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return Notifier { to: None } };
        match connected(&name) {
            Ok(to) => Notifier { to: Some(to) },
            Err(error) => {
                tracing::warn!(%error, "the service manager's socket (NOTIFY_SOCKET) cannot be used");
                Notifier { to: None }
            }
        }
    }

    /// Everything listens.
    pub(super) fn ready(&self) {
        self.tell("READY=1\nSTATUS=Serving\n");
    }

    /// The config is read again; [`Notifier::ready`] follows. The time lets `Type=notify-reload` tell this reload from others.
    pub(super) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = Duration::try_from(now).unwrap_or_default().as_micros();
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reading the configuration again\n"));
    }

    /// No new mail is taken.
    pub(super) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Finishing mails under way\n");
    }

    /// Still alive.
    pub(super) fn alive(&self) {
        self.tell("WATCHDOG=1\n");
    }

    /// How often to say that we are alive: half of what the service manager waits. `None` where it does not wait.
    pub(super) fn watchdog(&self) -> Option<Duration> {
        self.to.as_ref()?;
        let of = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = of("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let micros = of("WATCHDOG_USEC").filter(|micros| is_ours && *micros > 0)?;
        Some((Duration::from_micros(micros) / 2).max(Duration::from_millis(1)))
    }

    fn tell(&self, text: &str) {
        if let Some((socket, to)) = &self.to
            && let Err(error) = socket.send_to_addr(text.as_bytes(), to)
        {
            tracing::debug!(%error, "the service manager could not be told");
        }
    }
}

fn connected(name: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let to = match name.as_bytes().split_first() {
        Some((b'@', rest)) => SocketAddr::from_abstract_name(rest)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, to))
}
