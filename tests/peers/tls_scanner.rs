//! What a scanner of TLS servers (sslyze) finds at every door that speaks TLS.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::relay::{Running, Upstream};

fn sslyze() -> PathBuf {
    let peers: PathBuf = std::env::var("WAXSEAL_PEERS")
        .expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled")
        .into();
    peers.join("sslyze/bin/sslyze")
}

/// What was found at one door, by the name of the question.
fn scanned(port: u16, more: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("out.json");
    let out = Command::new(sslyze())
        .args(["--quiet", "--mozilla_config=disable"])
        .arg(format!("--json_out={}", json.display()))
        .args(["--sslv2", "--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--heartbleed", "--openssl_ccs"])
        .args(["--reneg", "--robot", "--compression", "--certinfo", "--resum", "--early_data", "--elliptic_curves"])
        .args(more)
        .arg(format!("localhost:{port}"))
        .output()
        .expect("sslyze is not installed");
    let text = std::fs::read_to_string(&json).unwrap_or_else(|error| panic!("{error}: {out:?}"));
    let all: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let result = &all["server_scan_results"][0]["scan_result"];
    assert!(result.is_object(), "{text}");
    result.clone()
}

/// Every door: TLS 1.2 and 1.3 only, forward secrecy and AEAD only, and none of the old holes.
#[test]
#[ignore = "needs sslyze"]
fn a_scanner_finds_nothing_to_complain_of() {
    let changes = [("public_url = \"http://track.example\"", "public_url = \"https://track.example\"\ntls = true")];
    let relay = Running::start_with(Upstream::Inbox, "", &changes);
    let doors: [(&str, u16, &[&str]); 3] = [
        ("implicit TLS", relay.smtps.port(), &[]),
        ("STARTTLS", relay.smtp.port(), &["--starttls=smtp"]),
        ("the tracking site", relay.tracking.port(), &[]),
    ];
    for (door, port, more) in doors {
        judge(door, &scanned(port, more));
    }
}

fn judge(door: &str, found: &Value) {
    let result = |question: &str| {
        let asked = &found[question];
        assert_eq!(asked["status"], "COMPLETED", "{door}, {question}: {asked}");
        asked["result"].clone()
    };
    let suites = |question: &str| -> Vec<String> {
        let accepted = result(question)["accepted_cipher_suites"].as_array().unwrap().clone();
        accepted.iter().map(|suite| suite["cipher_suite"]["name"].as_str().unwrap().to_owned()).collect()
    };
    for old in ["ssl_2_0_cipher_suites", "ssl_3_0_cipher_suites", "tls_1_0_cipher_suites", "tls_1_1_cipher_suites"] {
        assert_eq!(suites(old), Vec::<String>::new(), "{door}: {old}");
    }
    let (tls_1_2, tls_1_3) = (suites("tls_1_2_cipher_suites"), suites("tls_1_3_cipher_suites"));
    let is_modern =
        |name: &String| name.starts_with("TLS_ECDHE_") && (name.contains("_GCM_") || name.contains("_CHACHA20_"));
    assert!(!tls_1_2.is_empty() && tls_1_2.iter().all(is_modern), "{door}: {tls_1_2:?}");
    assert_eq!(tls_1_3.len(), 3, "{door}: {tls_1_3:?}");
    assert_eq!(result("heartbleed")["is_vulnerable_to_heartbleed"], false, "{door}");
    assert_eq!(result("openssl_ccs_injection")["is_vulnerable_to_ccs_injection"], false, "{door}");
    assert_eq!(result("tls_compression")["supports_compression"], false, "{door}");
    assert_eq!(result("tls_1_3_early_data")["supports_early_data"], false, "{door}: early data can be replayed");
    let robot = result("robot")["robot_result"].clone();
    assert!(robot.as_str().is_some_and(|robot| robot.starts_with("NOT_VULNERABLE")), "{door}: {robot}");
    let renegotiation = result("session_renegotiation");
    assert_eq!(renegotiation["supports_secure_renegotiation"], true, "{door}");
    assert_eq!(renegotiation["is_vulnerable_to_client_renegotiation_dos"], false, "{door}");
    let deployment = &result("certificate_info")["certificate_deployments"][0];
    assert_eq!(deployment["received_chain_has_valid_order"], true, "{door}");
}
