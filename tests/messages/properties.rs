//! What holds for any message at all.

use bytes::Bytes;
use proptest::prelude::*;
use waxseal::policy::LinkRules;
use waxseal::rewrite::{
    self, FooterOptions, FooterOutcome, Limits, Options, Outcome, Prepared, Untouched, Variant, prepare,
};
use waxseal::settings::privacy::Footer;
use waxseal::settings::{Mode, Quotes, Tracking};
use waxseal::token::Kind;

use super::tokens::{self, SITE, chars, mint, opened};

const ALL: Variant = Variant { opens: true, links: true, text_links: true };

fn prepared(raw: &Bytes, limits: Limits) -> Prepared {
    let rules = LinkRules::default();
    let options = Options { quotes: Quotes::Unwrap, limits, ..tokens::options(ALL, &rules) };
    prepare(raw, &options)
}

fn all_on(raw: &Bytes) -> (Bytes, Outcome) {
    let prepared = prepared(raw, Limits::default());
    (prepared.layout(ALL).render(mint).unwrap().to_bytes(), prepared.outcome().clone())
}

/// Tokens of the copy in order of appearance, by their payload.
fn payloads(copy: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in copy.split(&format!("{SITE}/c/")).skip(1) {
        let token = rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).next().unwrap();
        found.extend(opened(token));
    }
    found
}

/// Words that mail is made of, to be put together in any order.
fn mail() -> impl Strategy<Value = Vec<u8>> {
    let words: &[&[u8]] = &[
        b"\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"Content-Type: text/html; charset=utf-8\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: multipart/alternative; boundary=c\r\n",
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"--c\r\n",
        b"--c--\r\n",
        b"<a href=\"https://example.org/\">",
        b"<a href=https://example.org/x>",
        b"<a href=\"",
        b"\"",
        b"'",
        b">",
        b"</a>",
        b"<body>",
        b"</body>",
        b"=3D",
        b"=\r\n",
        b"=",
        b"PGEgaHJlZj0iaHR0cHM6Ly9leGFtcGxlLm9yZy8iPng8L2E+\r\n",
        b"<!--",
        b"-->",
        b"<table>",
        b"<td>",
        b"https://example.org/y ",
        b"https://track.example/i/AAAA.gif",
        b"https://track.example/c/AAAA",
        b"\xff\xfe",
        b"\0",
        b"Subject: x\r\n",
        b"x y z",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..40).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_message_is_answered(raw in mail()) {
        let raw = Bytes::from(raw);
        let prepared = prepared(&raw, Limits::default());
        prop_assert_eq!(prepared.identity().to_bytes(), raw.clone());
        let on = prepared.layout(ALL).render(mint).unwrap().to_bytes();
        if prepared.outcome().untouched.is_some() {
            prop_assert_eq!(&on, &raw);
        }
        let lines = prepared.outcome().lines();
        prop_assert!(lines.iter().all(|line| !line.contains(['\r', '\n'])));
    }

    #[test]
    fn any_octets_are_answered(raw in prop::collection::vec(any::<u8>(), 0..400)) {
        let raw = Bytes::from(raw);
        prop_assert_eq!(prepared(&raw, Limits::default()).identity().to_bytes(), raw);
    }

    #[test]
    fn nothing_on_is_the_identity(raw in mail()) {
        let raw = Bytes::from(raw);
        let rules = LinkRules::default();
        let options = tokens::options(ALL, &rules);
        prop_assert_eq!(prepare(&raw, &options).layout(Variant::NONE).render(mint).unwrap().to_bytes(), raw);
    }

    /// A footer is whole lines put in at one place of a part: cut out again, the message is what it was.
    #[test]
    fn a_footer_can_be_cut_out_again(raw in mail(), text in "[a-z<>&\u{e4}\u{20ac}\u{4f60} \n]{0,60}\\[x y\\][a-z ]{0,20}") {
        let Ok(footer) = text.parse::<Footer>() else { return Ok(()) };
        let raw = Bytes::from(raw);
        let rules = LinkRules::default();
        let options = Options { footer: Some(FooterOptions { footer: &footer, payload_bytes: 9 }), ..tokens::options(Variant::NONE, &rules) };
        let prepared = prepare(&raw, &options);
        let copy = prepared.layout(Variant::NONE).render(|slot| "t".repeat(slot.chars)).unwrap().to_bytes();
        let placed = match &prepared.outcome().footer {
            FooterOutcome::Parts(parts) => parts.iter().filter(|(_, left)| left.is_none()).count(),
            FooterOutcome::NotWanted | FooterOutcome::NoText => 0,
        };
        prop_assert_eq!(copy == raw, placed == 0);
        let has = |word: &[u8]| raw.windows(word.len()).any(|text| text == word);
        if !has(b"base64") && !has(b"quoted-printable") {
            prop_assert!(is_raw_with_insertions(&raw, &copy, placed), "{}", String::from_utf8_lossy(&copy));
        }
        let long = |text: &[u8]| text.split(|b| *b == b'\n').map(<[u8]>::len).max().unwrap_or(0);
        prop_assert!(long(&copy) <= long(&raw).max(998));
    }

    /// The same in every transfer encoding, on the decoded text.
    #[test]
    fn a_footer_follows_the_text_in_every_encoding(
        lines in prop::collection::vec("[a-z =.>-]{0,90}", 0..6), end in prop::sample::select(vec!["", "\r\n", "\r\n\r\n"]),
        encoding in prop::sample::select(vec!["8bit", "quoted-printable", "base64"])) {
        let text = format!("x\r\n{}z{end}", lines.iter().map(|line| format!("{}\r\n", line.trim_end())).collect::<String>());
        let raw = Bytes::from(format!("Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{}", encoded(&text, encoding)));
        let footer: Footer = "gr\u{fc}n [x]".parse().unwrap();
        let rules = LinkRules::default();
        let options = Options { footer: Some(FooterOptions { footer: &footer, payload_bytes: 9 }), ..tokens::options(Variant::NONE, &rules) };
        let copy = prepare(&raw, &options).layout(Variant::NONE).render(|slot| "t".repeat(slot.chars)).unwrap().to_bytes();
        let parsed = mail_parser::MessageParser::default().parse(&copy[..]).unwrap();
        let decoded = parsed.body_text(0).unwrap().into_owned();
        let put = format!("z\r\n\r\ngr\u{fc}n x:\r\n<{SITE}/p/{}>", "t".repeat(chars(9)));
        prop_assert_eq!(decoded, format!("{}{put}{end}", text.trim_end().trim_end_matches('z')));
    }

    #[test]
    fn every_link_opens_to_its_destination(
        urls in prop::collection::vec("https?://[a-z]{1,8}\\.example(:[1-9][0-9]{0,3})?/[a-z0-9/._~+-]{0,120}(\\?[a-z]=[a-z0-9%,]{0,20})?", 1..12),
        quote in prop::sample::select(vec!["\"", "'", ""]), encoding in prop::sample::select(vec!["8bit", "quoted-printable", "base64"])) {
        let links: Vec<String> = urls.iter().map(|url| format!("<p>text <a href={quote}{url}{quote}>x</a></p>\r\n")).collect();
        let html = format!("<body>{}</body>\r\n", links.concat());
        let raw = Bytes::from(format!("Content-Type: text/html\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{}", encoded(&html, encoding)));
        let (copy, outcome) = all_on(&raw);
        let decoded = mail_parser::MessageParser::default().parse(&copy[..]).unwrap().body_html(0).unwrap().into_owned();
        let tracked: Vec<String> = outcome.links.iter().filter(|link| matches!(link.decision, rewrite::LinkDecision::Tracked(_))).map(|link| link.url.clone()).collect();
        prop_assert_eq!(payloads(&decoded), tracked.clone());
        prop_assert!(tracked.iter().all(|url| urls.contains(url)));
        // what was not tracked stands there still, and the rest is as it was
        let mut back = decoded.clone();
        for url in &tracked {
            let from = back.find(&format!("{SITE}/c/")).unwrap();
            let token_len = chars(url.len());
            let (mut start, mut end) = (from, from + SITE.len() + 3 + token_len);
            if quote.is_empty() {
                (start, end) = (start - 1, end + 1);
            }
            back.replace_range(start..end, url);
        }
        let pixel = back.find("<img ").unwrap();
        let pixel_end = pixel + back[pixel..].find('>').unwrap() + 1;
        back.replace_range(pixel..pixel_end, "");
        prop_assert_eq!(back, html);
    }
}

/// Whether the copy is the message with so many stretches put in.
fn is_raw_with_insertions(raw: &[u8], copy: &[u8], insertions: usize) -> bool {
    let same = raw.iter().zip(copy).take_while(|(a, b)| a == b).count();
    if insertions <= 1 {
        let tail = raw.iter().rev().zip(copy.iter().rev()).take_while(|(a, b)| a == b).count();
        return if insertions == 0 { raw == copy } else { same + tail >= raw.len() };
    }
    (0..=same).rev().any(|at| {
        let left = raw.len() - at;
        (at..=copy.len() - left).any(|from| is_raw_with_insertions(&raw[at..], &copy[from..], insertions - 1))
    })
}

fn encoded(html: &str, encoding: &str) -> String {
    use base64::Engine;
    match encoding {
        "quoted-printable" => html.replace('=', "=3D").replace("text ", "te=\r\nxt "),
        "base64" => {
            let text = base64::engine::general_purpose::STANDARD.encode(html);
            text.as_bytes().chunks(76).map(|row| String::from_utf8_lossy(row).into_owned() + "\r\n").collect()
        }
        _ => html.to_owned(),
    }
}

fn html_mail(html: &str) -> Bytes {
    Bytes::from(format!("Content-Type: text/html; charset=utf-8\r\n\r\n{html}"))
}

#[test]
fn over_a_limit_the_message_leaves_as_it_came() {
    let untouched = |raw: &Bytes, limits: Limits| {
        let prepared = prepared(raw, limits);
        assert!(prepared.layout(ALL).render(mint).unwrap().to_bytes() == raw);
        prepared.outcome().untouched.expect("a reason")
    };
    let links = html_mail(&"<a href=\"https://example.org/\">x</a>".repeat(20));
    assert_eq!(untouched(&links, Limits { links_max: 19, ..Limits::default() }), Untouched::TooManyLinks);
    assert_eq!(untouched(&links, Limits { text_bytes_max: 100, ..Limits::default() }), Untouched::TooLarge);
    let parts =
        Bytes::from(format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--b\r\n\r\nx\r\n".repeat(2_000)));
    assert!(matches!(untouched(&parts, Limits::default()), Untouched::Structure(_)));
    let nested: String =
        (0..60).map(|n| format!("Content-Type: multipart/mixed; boundary=n{n}e\r\n\r\n--n{n}e\r\n")).collect();
    assert!(matches!(untouched(&Bytes::from(nested), Limits::default()), Untouched::Structure(_)));
    let header = Bytes::from(format!("X: {}\r\nContent-Type: text/html\r\n\r\n<body></body>", "y".repeat(300_000)));
    assert!(matches!(untouched(&header, Limits::default()), Untouched::Structure(_)));
    // more open tags than the reader may keep in mind: the part stays
    let deep = html_mail(&format!("{}<a href=\"https://example.org/\">x</a>", "<div>".repeat(100_000)));
    assert_eq!(
        untouched(&deep, Limits { html_memory_bytes_max: 10_000, ..Limits::default() }),
        Untouched::NothingToTrack
    );
}

#[test]
fn a_long_mail_has_its_pixel_where_gmail_still_shows_it() {
    let raw = html_mail(&format!("<html><body><p>{}</p></body></html>", "long ".repeat(30_000)));
    let (copy, _) = all_on(&raw);
    assert!(copy[..300].windows(7).any(|text| text == b"/i/-_v7"), "the pixel comes first");
}

#[test]
fn time_grows_with_size_only() {
    // Shapes that have made other parsers quadratic. A hundred times the work of a plain mail would be seconds.
    let big = 200_000;
    let shapes: Vec<(&str, Bytes)> = vec![
        ("many links on one line", html_mail(&"<a href=https://e.test/>".repeat(4_900))),
        ("many body ends", html_mail(&"</body>".repeat(big / 7))),
        ("many bodies", html_mail(&"<body>x</body><!-- </body> -->".repeat(big / 30))),
        ("many comments", html_mail(&"<!--[if mso]><a href=x>".repeat(big / 20))),
        ("many comment ends", html_mail(&format!("<table>{}", "<b>-->".repeat(big / 6)))),
        ("many open tags", html_mail(&"<div>".repeat(big / 5))),
        ("many quotes", html_mail(&"<a href='".repeat(big / 9))),
        (
            "many dashes",
            Bytes::from(format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", "--\r\n".repeat(big))),
        ),
        ("many text links", Bytes::from(format!("\r\n{}", "https://e.test/(((( ".repeat(4_900)))),
        ("one long text link", Bytes::from(format!("\r\nhttps://e.test/{}", ")".repeat(big)))),
    ];
    for (name, raw) in shapes {
        let started = std::time::Instant::now();
        all_on(&raw);
        assert!(started.elapsed() < std::time::Duration::from_secs(60), "{name}: {:?}", started.elapsed());
    }
}

#[test]
fn tokens_of_another_length_render_nothing() {
    let raw = html_mail("<a href=\"https://example.org/\">x</a>");
    let prepared = prepared(&raw, Limits::default());
    assert!(prepared.layout(ALL).render(|slot| mint(slot) + "x").is_err());
    assert_eq!(prepared.slots().iter().filter(|slot| slot.kind == Kind::Click).count(), 1);
}

#[test]
fn offline_is_the_relay_without_its_header() {
    let raw = Bytes::from(
        "Bcc: x@y\nX-Waxseal-Opens: off\nContent-Type: text/html\n\n<a href=\"https://example.org/\">x</a>\n",
    );
    let on = Tracking { opens: Mode::Individual, links: Mode::Individual, text_links: false };
    let done = rewrite::offline(&raw, on, &LinkRules::default(), SITE, &chars, mint);
    let text = String::from_utf8(done.body.to_bytes().to_vec()).unwrap();
    assert!(text.starts_with("Bcc: x@y\nX-Waxseal-Opens: off\n") && text.contains("/c/") && !text.contains("/i/"));
    let off = Tracking { opens: Mode::Off, links: Mode::Off, text_links: false };
    assert_eq!(rewrite::offline(&raw, off, &LinkRules::default(), SITE, &chars, mint).body.to_bytes(), raw);
}

#[test]
fn an_old_link_is_found_in_encoded_text_too() {
    let slot = waxseal::rewrite::Slot {
        kind: Kind::Click,
        link: 1,
        payload: "https://example.org/".to_owned(),
        chars: chars("https://example.org/".len()),
    };
    let text = format!("> see {SITE}/c/{}\r\n", mint(&slot));
    for encoding in ["8bit", "quoted-printable", "base64"] {
        let body = encoded(&text, encoding).replace("/c/", if encoding == "8bit" { "/c/" } else { "/=\r\nc=2F" });
        let raw = Bytes::from(format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{body}"));
        let rules = LinkRules::default();
        let options = Options { quotes: Quotes::Unwrap, ..tokens::options(Variant::NONE, &rules) };
        let copy = prepare(&raw, &options).layout(Variant::NONE).render(mint).unwrap().to_bytes();
        let told = mail_parser::MessageParser::default().parse(&copy[..]).unwrap().body_text(0).unwrap().into_owned();
        assert_eq!(told.trim_end(), "> see https://example.org/", "{encoding}");
    }
}
