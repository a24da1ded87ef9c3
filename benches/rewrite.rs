//! How fast the rewriter is beside bare lol_html and a plain copy: `cargo bench --bench rewrite`.
//!
//! Ratios are what counts; each figure is the best of several rounds, so that another process on the machine does not
//! decide. The target is 60 % of bare lol_html with an empty link handler, from raw message to rendered copy, and less
//! than 10 % of that for each further recipient.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lol_html::html_content::Element;
use lol_html::{HtmlRewriter, Settings, element};
use waxseal::policy::LinkRules;
use waxseal::rewrite::{self, Limits, Options, Prepared, Slot, Variant, nothing_is_ours};
use waxseal::settings::Quotes;

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(120);

fn main() {
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "", "copy", "lol bare", "lol a[]", "prepare", "whole", "further", "of lol", "further"
    );
    println!(
        "{:<28} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "MB/s of raw message", "", "", "", "", "", "us", "", "of first"
    );
    for (name, html) in [
        ("2 KB, 2 links", html(2_000, 2)),
        ("20 KB, 20 links", html(20_000, 20)),
        ("20 KB, 50 links", html(20_000, 50)),
        ("1 MB, 1000 links", html(1_000_000, 1_000)),
    ] {
        for encoding in ["8bit", "quoted-printable", "base64"] {
            row(&format!("{name}, {encoding}"), &html, encoding);
        }
    }
}

fn row(name: &str, html: &str, encoding: &str) {
    let raw = message(html, encoding);
    let copy = best(|| {
        black_box(raw.to_vec());
    });
    let bare = best(|| lol(html, false));
    let links = best(|| lol(html, true));
    let prepare_only = best(|| {
        black_box(prepare(&raw));
    });
    let whole = best(|| {
        black_box(prepare(&raw).layout(ALL).render(mint).is_ok());
    });
    let prepared = prepare(&raw);
    let layout = prepared.layout(ALL);
    let further = best(|| {
        black_box(layout.render(mint).is_ok());
    });
    let speed = |took: Duration| raw.len() as f64 / took.as_secs_f64() / 1e6;
    println!(
        "{name:<28} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.1} {:>7.0}% {:>7.1}%",
        speed(copy),
        html.len() as f64 / bare.as_secs_f64() / 1e6,
        html.len() as f64 / links.as_secs_f64() / 1e6,
        speed(prepare_only),
        speed(whole),
        further.as_secs_f64() * 1e6,
        links.as_secs_f64() / whole.as_secs_f64() * 100.0,
        further.as_secs_f64() / whole.as_secs_f64() * 100.0,
    );
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

fn lol(html: &str, handler: bool) {
    let mut settings = Settings::new();
    if handler {
        settings = settings.append_element_content_handler(element!("a[href]", |_: &mut Element<'_, '_>| Ok(())));
    }
    let mut rewriter = HtmlRewriter::new(settings, |chunk: &[u8]| {
        black_box(chunk.len());
    });
    let read = rewriter.write(html.as_bytes()).and_then(|()| rewriter.end());
    assert!(read.is_ok());
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

fn message(html: &str, encoding: &str) -> Bytes {
    let body = match encoding {
        "quoted-printable" => quoted_printable(html),
        "base64" => base64(html),
        _ => html.to_owned(),
    };
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
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(html);
    text.as_bytes().chunks(76).map(|row| String::from_utf8_lossy(row).into_owned() + "\r\n").collect()
}
