//! What systemd makes of the unit that operators copy.

use std::process::{Command, Output};

const UNIT: &str = include_str!("../../docs/waxseal.service");
/// Exposure times ten: the network, its own folder and ports below 1024 are what is left.
const EXPOSURE_MAX: &str = "20";

fn analyze(arguments: &[&str], unit: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("waxseal.service");
    std::fs::write(&path, unit).unwrap();
    let out =
        Command::new("systemd-analyze").args(arguments).arg(&path).output().expect("systemd-analyze is not installed");
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    (out, text)
}

#[test]
#[ignore = "needs systemd-analyze"]
fn the_unit_is_understood_and_hardened() {
    // A program that is there; the rest as it stands.
    let unit = UNIT.replace("/usr/local/bin/waxseal", env!("CARGO_BIN_EXE_waxseal"));
    assert_ne!(unit, UNIT);
    let (out, text) = analyze(&["verify"], &unit);
    let about_it: Vec<&str> = text.lines().filter(|line| line.contains("waxseal.service")).collect();
    assert!(out.status.success() && about_it.is_empty(), "{text}");

    let security = ["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE_MAX}")];
    let (out, text) = analyze(&security, UNIT);
    assert!(out.status.success(), "{text}");
    println!("{}", text.lines().last().unwrap_or_default());
    // and the threshold is one: without its hardening it is over it
    let bare: String = UNIT
        .lines()
        .filter(|line| !line.contains("Protect") && !line.contains("Cap"))
        .fold(String::new(), |all, line| all + line + "\n");
    assert!(!analyze(&security, &bare).0.status.success());
}
