//! What a mail may be: over a limit of the rewriter it leaves as it came, one that goes in circles is refused; each is
//! counted under its name, by a process that counts for nobody else.

use super::first_light::submit;
use crate::support::process::Installation;
use crate::support::unsplice::http;

/// As low as they may be set.
const LOW: &str = "[limits]\nheader_bytes_max = 1024\nheader_lines_max = 50\nparts_max = 5\nnesting_max = 2\n\
    decoded_bytes_max = 2000\nlinks_max = 3\nhtml_memory_bytes_max = 65536\nreceived_headers_max = 10\n";

#[rustfmt::skip]
fn rows() -> Vec<(&'static str, String)> {
    let html = "Content-Type: text/html\r\n\r\n";
    let part = "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n";
    let nested: String = (0..4)
        .map(|n| format!("Content-Type: multipart/mixed; boundary=n{n}\r\n\r\n--n{n}\r\n"))
        .collect();
    vec![
        ("header_bytes", format!("X: {}\r\n\r\nx\r\n", "y".repeat(2_000))),
        ("header_lines", format!("{}\r\nx\r\n", "X: y\r\n".repeat(60))),
        ("parts", format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n", part.repeat(9))),
        ("nesting", nested),
        ("decoded_bytes", format!("{html}{}", "<p>text</p>\r\n".repeat(300))),
        ("links", format!("{html}{}", "<a href=\"https://x.example/\">x</a>\r\n".repeat(5))),
        ("received_headers", format!("{}\r\nx\r\n", "Received: from a by b\r\n".repeat(20))),
    ]
}

/// A tag of 200,000 octets that does not end, where so much text may be read.
const ROOMY: &str = "[limits]\nhtml_memory_bytes_max = 65536\n";

fn limits_met(installation: &Installation) -> Vec<String> {
    let text = String::from_utf8(http(installation.admin, "GET", "/metrics", &[]).body).unwrap();
    text.lines().filter_map(|line| line.strip_prefix("waxseal_limits_met_total{limit=\"")).map(str::to_owned).collect()
}

#[test]
fn each_is_counted_under_its_name() {
    let installation = Installation::inbox(LOW);
    let _process = installation.start();
    let mut met = Vec::new();
    for (limit, mail) in rows() {
        let mail = format!("From: ana@example.com\r\nMIME-Version: 1.0\r\n{mail}");
        let answer = submit(installation.smtp, "ana@example.com", &["b@ok.test"], &mail);
        assert_eq!(answer.starts_with("250"), limit != "received_headers", "{limit}: {answer}");
        met.push(format!("{limit}\"}} 1"));
        met.sort();
        let mut found = limits_met(&installation);
        found.sort();
        assert_eq!(found, met, "{limit}");
    }
}

#[test]
fn memory_of_the_html_reader_too() {
    let installation = Installation::inbox(ROOMY);
    let _process = installation.start();
    let mail = format!(
        "From: ana@example.com\r\nContent-Type: text/html\r\n\r\n<p>x</p><a title=\"{}",
        "y\r\n".repeat(70_000)
    );
    let answer = submit(installation.smtp, "ana@example.com", &["b@ok.test"], &mail);
    assert!(answer.starts_with("250"), "{answer}");
    assert_eq!(limits_met(&installation), ["html_memory_bytes\"} 1"]);
}
