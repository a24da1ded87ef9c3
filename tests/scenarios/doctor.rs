//! `waxseal doctor` beside a running server, beside one whose upstream is gone, and beside none.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use waxseal::health::LOOK_MAX;

use super::first_light::wait_for;
use crate::support::process::{Installation, PUBLIC_URL};
use crate::support::unsplice::{http, http_post};
use crate::support::upstream::{Script, ScriptedUpstream};

/// A name server that knows no name.
pub(super) fn name_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            if length < 12 {
                continue;
            }
            // RFC 1035 §4.1.1: the question comes back as an answer that says "no such name"; what stands behind it goes.
            let end = 12 + packet[12..length].iter().position(|octet| *octet == 0).unwrap_or(0) + 5;
            packet[2] |= 0x80;
            packet[3] = 0x83;
            packet[6..12].fill(0);
            drop(socket.send_to(&packet[..end.min(length)], from));
        }
    });
    address
}

/// An installation whose tracking site is its own public URL, and that asks our name server.
fn installation(upstream: SocketAddr) -> Installation {
    let installation = Installation::new(upstream, &format!("[dns]\nservers = [\"{}\"]\n", name_server()));
    let path = installation.path("config.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(PUBLIC_URL));
    std::fs::write(&path, text.replace(PUBLIC_URL, &format!("http://{}", installation.tracking))).unwrap();
    installation
}

/// Exit code and report.
fn doctor(installation: &Installation) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waxseal"));
    let out = command.args(["doctor", "--json", "--config"]).arg(installation.path("config.toml")).output().unwrap();
    let report = serde_json::from_slice(&out.stdout);
    (out.status.code().unwrap(), report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&out.stderr))))
}

/// State and words of a check.
fn check<'r>(report: &'r Value, name: &str) -> (&'r str, &'r str) {
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name}: {report:#}"));
    (found["state"].as_str().unwrap(), found["seen"].as_str().unwrap())
}

#[test]
fn a_running_server_looks_at_itself() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let upstream = runtime.block_on(ScriptedUpstream::start(Script::new().keywords(&["SIZE 99999999", "PIPELINING"])));
    let installation = installation(upstream.addr());
    let process = installation.start();
    let (code, report) = doctor(&installation);
    assert_eq!((code, &report["running"]), (0, &Value::Bool(true)), "{report:#}");
    // Through the public URL, and to this very server.
    let (state, seen) = check(&report, "tracking.site");
    assert!(state == "ok" && seen.contains("it is this server"), "{report:#}");
    let (state, seen) = check(&report, "upstream.reachable");
    assert!(state == "ok" && seen.contains("SIZE 99999999, PIPELINING"), "{report:#}");
    // The domain's records are missing, which the name server said; nothing of that fails.
    let (state, seen) = check(&report, "domains.spf");
    assert!(state == "warn" && seen.contains("no SPF record"), "{report:#}");
    for name in ["storage.settings", "storage.history", "storage.spool", "storage.keys", "storage.write"] {
        assert_eq!(check(&report, name).0, "ok", "{report:#}");
    }
    assert!(upstream.mails().is_empty(), "no mail was begun");
    // For people: the same in words.
    let told = installation.cli(&["doctor"]);
    assert!(told.contains("Tracking site\n") && told.contains("→ publish"), "{told}");

    // Upstream goes: that is a failure, and says what to look at.
    drop(upstream);
    drop(runtime);
    wait_for(|| {
        let (code, report) = doctor(&installation);
        (code == 1 && check(&report, "upstream.reachable").0 == "fail").then_some(())
    });
    process.terminate();
}

/// Upstream takes the connection and says nothing, which a look waits for: the page does not. It shows what was seen last.
#[test]
fn the_page_waits_for_nobody() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let installation = installation(silent.local_addr().unwrap());
    let process = installation.start();
    installation.cli_with(&["user", "add", "chief", "--role", "server-admin"], "a password of the chief's\n");
    let answer = http_post(installation.admin, "/login", "login=chief&password=a+password+of+the+chief%27s");
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let page = || {
        let begun = Instant::now();
        let answer = http(installation.admin, "GET", "/health", &[("Cookie", &cookie)]);
        assert!(begun.elapsed() < LOOK_MAX / 2, "it took {:?}", begun.elapsed());
        String::from_utf8(answer.body).unwrap()
    };
    assert!(page().contains("The first look is under way"));
    // The look itself gives up on upstream in the end.
    let until = Instant::now() + 4 * LOOK_MAX;
    let seen = loop {
        let page = page();
        if page.contains("Seen on") {
            break page;
        }
        assert!(Instant::now() < until, "{page}");
        std::thread::sleep(LOOK_MAX / 40);
    };
    assert!(seen.contains("no answer in time at greeting"), "{seen}");
    process.terminate();
}

#[test]
fn beside_no_server_the_files_are_looked_at() {
    let installation = installation(SocketAddr::from(([127, 0, 0, 1], 9)));
    let (code, report) = doctor(&installation);
    assert_eq!((code, &report["running"]), (1, &Value::Bool(false)), "{report:#}");
    assert_eq!(check(&report, "process.running").0, "fail");
    assert_eq!(check(&report, "tracking.site"), ("skipped", "the server is not running"));
    assert_eq!(check(&report, "storage.folder").0, "skipped", "nothing was ever started here: {report:#}");
    assert!(!installation.path("data").exists(), "a look makes nothing");
}
