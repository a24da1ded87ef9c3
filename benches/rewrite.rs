//! What the rewriter costs beside bare lol_html: `cargo bench --bench rewrite`, or with `-- instructions` counted by
//! valgrind, which another process on the machine cannot disturb.
//!
//! Ratios are what counts. The peer reads what a rewriter has to read: the decoded HTML, with an empty link handler, and
//! for an encoded part it decodes first, with the fastest plain decoder at hand. The target is 60 % of the peer, from raw
//! message to rendered copy, and less than 10 % of that for each further recipient.

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lol_html::html_content::Element;
use lol_html::{HtmlRewriter, Settings, element};
use waxseal::policy::LinkRules;
use waxseal::rewrite::{self, Limits, Options, Prepared, Slot, Variant, nothing_is_ours};
use waxseal::settings::Quotes;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(120);

const CASES: [(&str, usize, usize); 4] = [
    ("2 KB, 2 links", 2_000, 2),
    ("20 KB, 20 links", 20_000, 20),
    ("20 KB, 50 links", 20_000, 50),
    ("1 MB, 1000 links", 1_000_000, 1_000),
];
const ENCODINGS: [&str; 3] = ["8bit", "quoted-printable", "base64"];
const WORK: [&str; 6] = ["copy", "lol", "peer", "prepare", "whole", "further"];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["run", work, case, encoding, times] => {
            let case = Case::new(case.parse().unwrap_or_default(), encoding);
            let mut work = case.work(work);
            (0..times.parse().unwrap_or(1)).for_each(|_| work());
        }
        ["instructions"] => {
            table("thousands of instructions", |case, encoding, work| instructions(case, encoding, work) / 1e3)
        }
        _ => table("microseconds", |case, encoding, work| {
            let case = Case::new(case, encoding);
            best(case.work(work)).as_secs_f64() * 1e6
        }),
    }
}

/// A line for each case and encoding, a column for each kind of work.
fn table(unit: &str, measure: impl Fn(usize, &str, &str) -> f64) {
    print!("{unit:<34}");
    WORK.iter().for_each(|work| print!(" {work:>9}"));
    println!("  {:>7} {:>8}", "of peer", "further");
    for (number, (name, ..)) in CASES.iter().enumerate() {
        for encoding in ENCODINGS {
            let cost = WORK.map(|work| measure(number, encoding, work));
            print!("{:<34}", format!("{name}, {encoding}"));
            cost.iter().for_each(|cost| print!(" {cost:>9.1}"));
            let [_, _, peer, _, whole, further] = cost;
            println!("  {:>6.0}% {:>7.1}%", peer / whole * 100.0, further / whole * 100.0);
        }
    }
}

/// A message and what is done with it.
struct Case {
    html: String,
    body: String,
    encoding: String,
    raw: Bytes,
    prepared: Prepared,
}

impl Case {
    fn new(number: usize, encoding: &str) -> Case {
        let (_, bytes, links) = CASES[number];
        let html = html(bytes, links);
        let body = encoded(&html, encoding);
        let raw = message(&body, encoding);
        Case { prepared: prepare(&raw), html, body, encoding: encoding.to_owned(), raw }
    }

    fn work<'a>(&'a self, work: &str) -> Box<dyn FnMut() + 'a> {
        match work {
            "copy" => Box::new(|| drop(black_box(self.raw.to_vec()))),
            "lol" => Box::new(|| lol(self.html.as_bytes())),
            "peer" => Box::new(|| self.peer()),
            "prepare" => Box::new(|| drop(black_box(prepare(&self.raw)))),
            "whole" => Box::new(|| assert!(black_box(prepare(&self.raw).layout(ALL).render(mint).is_ok()))),
            _ => {
                let layout = self.prepared.layout(ALL);
                Box::new(move || assert!(black_box(layout.render(mint).is_ok())))
            }
        }
    }

    fn peer(&self) {
        match self.encoding.as_str() {
            "base64" => {
                let mut chars = String::with_capacity(self.body.len());
                self.body.lines().for_each(|line| chars.push_str(line));
                lol(&STANDARD.decode(chars).unwrap_or_default());
            }
            "quoted-printable" => lol(&decode_quoted_printable(self.body.as_bytes())),
            _ => lol(self.html.as_bytes()),
        }
    }
}

/// What one run takes: this program under valgrind, with one run and with some more.
fn instructions(case: usize, encoding: &str, work: &str) -> f64 {
    const MORE: u32 = 4;
    let count = |times: u32| {
        let done = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().unwrap_or_default())
            .args(["run", work, &case.to_string(), encoding, &times.to_string()])
            .output();
        let said = done.map(|done| String::from_utf8_lossy(&done.stderr).into_owned()).unwrap_or_default();
        let collected =
            said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim().to_owned());
        collected.and_then(|count| count.parse::<f64>().ok()).unwrap_or(f64::NAN)
    };
    (count(1 + MORE) - count(1)) / f64::from(MORE)
}

/// The shortest time of one run among the rounds.
fn best(mut run: impl FnMut()) -> Duration {
    (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            let mut runs = 0;
            while started.elapsed() < ROUND {
                run();
                runs += 1;
            }
            started.elapsed() / runs
        })
        .min()
        .unwrap_or(ROUND)
}

fn lol(html: &[u8]) {
    let settings =
        Settings::new().append_element_content_handler(element!("a[href]", |_: &mut Element<'_, '_>| Ok(())));
    let mut rewriter = HtmlRewriter::new(settings, |chunk: &[u8]| {
        black_box(chunk.len());
    });
    let read = rewriter.write(html).and_then(|()| rewriter.end());
    assert!(read.is_ok());
}

/// As plain as can be: no places, no padding, no doubt.
fn decode_quoted_printable(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = memchr::memchr(b'=', rest) {
        out.extend_from_slice(&rest[..at]);
        let digit =
            |at: usize| rest.get(at).and_then(|octet| char::from(*octet).to_digit(16)).unwrap_or_default() as u8;
        match rest.get(at + 1) {
            Some(b'\r') => {}
            _ => out.push(digit(at + 1) * 16 + digit(at + 2)),
        }
        rest = rest.get(at + 3..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

const ALL: Variant = Variant { opens: true, links: true, text_links: false };

fn chars(payload_bytes: usize) -> usize {
    let octets = 28 + payload_bytes;
    octets / 3 * 4 + [0, 2, 3][octets % 3]
}

/// Sealing is measured with the tokens; here a token costs its allocation only.
fn mint(slot: &Slot) -> String {
    "x".repeat(slot.chars)
}

fn prepare(raw: &Bytes) -> Prepared {
    let options = Options {
        wanted: ALL,
        links: &LinkRules::default(),
        quotes: Quotes::Unwrap,
        footer: None,
        site_url: "https://track.example.com",
        token_chars: &chars,
        open: &nothing_is_ours,
        received: b"Received: from a (a [192.0.2.1])\r\n\tby b; Mon, 23 Nov 2026 20:49:17 +0000\r\n",
        remove_fields: true,
        limits: Limits::default(),
    };
    rewrite::prepare(raw, &options)
}

/// A newsletter: nested tables, inline styles, text, `links` links.
fn html(bytes: usize, links: usize) -> String {
    let mut html = String::from(
        "<!DOCTYPE html>\r\n<html><head><meta charset=\"utf-8\"><style>td { color: #333 }</style></head>\r\n<body style=\"margin:0\">\r\n<table width=\"100%\"><tr><td>\r\n",
    );
    let filler = "<p style=\"font-family:Arial,sans-serif;font-size:14px\">Lorem ipsum dolor sit amet, consectetur adipiscing\r\nelit, sed do eiusmod <b>tempor</b> incididunt ut labore &amp; dolore.</p>\r\n";
    for link in 0..links {
        while html.len() < bytes * (link + 1) / (links + 1) {
            html.push_str(filler);
        }
        html.push_str(&format!("<a class=\"button\" href=\"https://www.example.com/shop/item/{link}?utm_source=mail&amp;utm_campaign=autumn\">Item {link}</a>\r\n"));
    }
    while html.len() < bytes {
        html.push_str(filler);
    }
    html.push_str("</td></tr></table>\r\n</body></html>\r\n");
    html
}

fn encoded(html: &str, encoding: &str) -> String {
    match encoding {
        "quoted-printable" => quoted_printable(html),
        "base64" => base64(html),
        _ => html.to_owned(),
    }
}

fn message(body: &str, encoding: &str) -> Bytes {
    let headers = "From: a@example.com\r\nTo: b@example.net\r\nSubject: Autumn\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\nDate: Mon, 23 Nov 2026 20:49:17 +0000\r\n";
    Bytes::from(format!(
        "{headers}Content-Type: multipart/alternative; boundary=\"=_b\"\r\n\r\n--=_b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nItems\r\n--=_b\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n--=_b--\r\n"
    ))
}

fn quoted_printable(html: &str) -> String {
    let mut out = String::new();
    for line in html.split("\r\n") {
        let mut column = 0;
        for c in line.chars() {
            let text = if c == '=' { "=3D".to_owned() } else { c.to_string() };
            if column + text.len() > 75 {
                out.push_str("=\r\n");
                column = 0;
            }
            column += text.len();
            out.push_str(&text);
        }
        out.push_str("\r\n");
    }
    out
}

fn base64(html: &str) -> String {
    let text = STANDARD.encode(html);
    text.as_bytes().chunks(76).map(|row| String::from_utf8_lossy(row).into_owned() + "\r\n").collect()
}
