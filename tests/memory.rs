//! The most memory that rewriting a mail takes, counted by the allocator: less than six times the message, the message
//! itself and the copy among it; for bombs, less than three; and that judging a hostile header takes next to nothing. A binary of
//! its own, because nothing else may allocate meanwhile.

#[path = "memory/bombs.rs"]
mod bombs;

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use waxseal::message::trace::received_count;
use waxseal::policy::LinkRules;
use waxseal::policy::plan::HeaderChoice;
use waxseal::policy::sender::{self, Allowed};
use waxseal::rewrite::{Limits, Options, Slot, Variant, nothing_is_ours, prepare};
use waxseal::settings::Quotes;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const ALL: Variant = Variant { opens: true, links: true, text_links: true };
const TIMES_MAX: f64 = 6.0;
const MB: usize = 1_000_000;

/// Held by whoever measures.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn memory_has_its_bounds() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut wrong = Vec::new();
    for encoding in ["8bit", "quoted-printable", "base64"] {
        // A newsletter, a long one, and the most that is read; links in every paragraph, few, and none.
        for (bytes, links) in [(MB, 1_000), (MB, 5), (5 * MB, 4_900), (11 * MB, 0)] {
            let mail = message(&html(bytes, links), encoding, 0);
            note(&mut wrong, &format!("{bytes} of {encoding}, {links} links"), mail);
        }
    }
    note(&mut wrong, "20 MB, nearly all of it attached", message(&html(20_000, 20), "base64", 20 * MB));
    note(&mut wrong, "over the limit of what is read", message(&html(18 * MB, 10), "8bit", 0));
    hostile_headers(&mut wrong);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Who sends is asked before any limit on headers: of 25 MB that are nothing but header, only what is asked for is kept.
fn hostile_headers(wrong: &mut Vec<String>) {
    let times = |text: &str| text.repeat(25 * MB / text.len());
    let (own, odd) = ("From: a@example.com\r\n", "X-Waxseal-Opens: off\r\nReceived: x\r\n");
    let bombs = [
        ("lines that are no field", format!("{own}{}\r\n", times("a\r\n")), true),
        ("fields", format!("{own}{}\r\n", times("X: y\r\n")), true),
        ("our own fields, and Received", format!("{own}{}\r\n", times(odd)), true),
        (
            "a list of authors",
            format!("From: {}a@example.com\r\nSender: a@example.com\r\n\r\n", times("a@example.com,\r\n ")),
            false,
        ),
        ("one long comment", format!("From: a@example.com ({})\r\n\r\n", times("x")), false),
        ("many times sent on", format!("{own}{}\r\n", times("Resent-From: a@example.com\r\n")), false),
        ("a long word of ours", format!("{own}X-Waxseal-Track: {}\r\n\r\n", times("x")), true),
    ];
    let domains = ["example.com".to_owned()];
    for (name, mail, expected) in bombs {
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let allowed = Allowed { domains: &domains, addresses: &[] };
        let taken = sender::header(allowed, &|_| false, mail.as_bytes());
        let (choice, hops) = (HeaderChoice::read(mail.as_bytes()), received_count(mail.as_bytes()));
        let peak = HEAP.peak_usage() - before;
        println!("{name}: {peak} octets, {taken:?}, {choice:?}, {hops} hops");
        if peak >= MB || taken.is_ok() != expected {
            wrong.push(format!("{name}: {peak} octets, {taken:?}"));
        }
    }
}

fn note(wrong: &mut Vec<String>, name: &str, mail: Bytes) {
    let times = most(&mail);
    println!("{name}: {:.2} times {} octets", times, mail.len());
    if times >= TIMES_MAX {
        wrong.push(format!("{name}: {times:.2} times the message"));
    }
}

/// The peak of reading, laying out and rendering two copies, as a multiple of the message.
fn most(mail: &Bytes) -> f64 {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    let rules = LinkRules::default();
    let prepared = prepare(mail, &options(&rules, Limits::default()));
    let layout = prepared.layout(ALL);
    let copies = [layout.render(mint), layout.render(mint)];
    assert!(copies.iter().all(|copy| copy.as_ref().is_ok_and(|copy| copy.len_bytes() > mail.len())));
    let taken = HEAP.peak_usage() - before + mail.len();
    taken as f64 / mail.len() as f64
}

fn options(rules: &LinkRules, limits: Limits) -> Options<'_> {
    Options {
        footer: None,
        wanted: ALL,
        links: rules,
        quotes: Quotes::Unwrap,
        site_url: "https://track.example.com",
        token_chars: &chars,
        open: &nothing_is_ours,
        received: b"Received: from a (a [192.0.2.1])\r\n\tby b; Mon, 23 Nov 2026 20:49:17 +0000\r\n",
        remove_fields: true,
        limits,
    }
}

fn chars(payload_bytes: usize) -> usize {
    (30 + payload_bytes).div_ceil(3) * 4
}

fn mint(slot: &Slot) -> String {
    "x".repeat(slot.chars)
}

fn html(bytes: usize, links: usize) -> String {
    let filler =
        "<p style=\"font-family:Arial,sans-serif\">Lorem ipsum dolor sit amet, <b>consectetur</b> elit.</p>\r\n";
    let mut html = String::with_capacity(bytes + 1_000);
    html.push_str("<html><body>\r\n");
    for link in 0..=links {
        while html.len() < bytes * (link + 1) / (links + 1) {
            html.push_str(filler);
        }
        if link < links {
            html.push_str(&format!(
                "<a href=\"https://www.example.com/item/{link}?utm_source=mail&amp;a=b\">Item</a>\r\n"
            ));
        }
    }
    html.push_str("</body></html>\r\n");
    html
}

fn message(html: &str, encoding: &str, attached_bytes: usize) -> Bytes {
    let body = match encoding {
        "quoted-printable" => html.replace('=', "=3D").replace(' ', " =\r\n"),
        "base64" => wrapped(html.as_bytes()),
        _ => html.to_owned(),
    };
    let attached = if attached_bytes > 0 { wrapped(&vec![b'x'; attached_bytes / 4 * 3]) } else { String::new() };
    Bytes::from(format!(
        "From: a@example.com\r\nContent-Type: multipart/mixed; boundary=\"=_border\"\r\n\r\n--=_border\r\n\
         Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{body}\r\n--=_border\r\n\
         Content-Type: application/pdf\r\nContent-Disposition: attachment\r\nContent-Transfer-Encoding: base64\r\n\r\n\
         {attached}\r\n--=_border--\r\n"
    ))
}

fn wrapped(octets: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(octets);
    let mut out = String::with_capacity(text.len() + text.len() / 38 + 2);
    let mut rest = text.as_str();
    while let Some((row, later)) = rest.split_at_checked(76) {
        out.push_str(row);
        out.push_str("\r\n");
        rest = later;
    }
    out + rest
}
