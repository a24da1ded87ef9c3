//! What systemd hears: ready, reloading, alive, stopping, in that order.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::support::process::Installation;

/// The next message that begins so; those that do not are passed over.
fn hear(socket: &UnixDatagram, start: &str) -> String {
    let mut octets = [0; 4096];
    for _ in 0..10_000 {
        let length = socket.recv(&mut octets).unwrap_or_else(|error| panic!("{start} was never said: {error}"));
        let text = String::from_utf8_lossy(&octets[..length]).into_owned();
        if text.starts_with(start) {
            return text;
        }
    }
    panic!("{start} was never said");
}

#[test]
fn every_step_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let installation = Installation::new("127.0.0.1:9".parse().unwrap(), "");
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "200000")];
    let mut process = installation.spawn_with(&environment);
    hear(&socket, "READY=1");
    process.wait_until_ready();
    hear(&socket, "WATCHDOG=1");
    hear(&socket, "WATCHDOG=1");
    process.hang_up();
    let reloading = hear(&socket, "RELOADING=1");
    let micros = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(micros.parse::<u64>().unwrap() > 0, "{reloading}");
    hear(&socket, "READY=1");
    assert!(process.terminate().success());
    hear(&socket, "STOPPING=1");
}
