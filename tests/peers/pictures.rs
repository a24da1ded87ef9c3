//! A tracked mail looks as it did: mails of many kinds through a running relay, drawn by Chromium before and after.
//! In its HTML the two differ by links and one image; on the screen by nothing, whether the image is loaded or blocked.

use base64::Engine as _;

use super::browser::Pairs;
use super::mailbox::{copy_for, send};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::find;

/// Name of `pictures/NAME.html`, charset and transfer encoding.
const MAILS: &[(&str, &str, &str)] = &[
    ("newsletter_tables", "utf-8", "7bit"),
    ("outlook_vml", "utf-8", "7bit"),
    ("no_body", "us-ascii", "7bit"),
    ("several_body_ends", "utf-8", "7bit"),
    ("full_height", "utf-8", "quoted-printable"),
    ("fragment", "utf-8", "7bit"),
    ("rtl_utf8", "utf-8", "8bit"),
    ("latin1_quoted_printable", "iso-8859-1", "quoted-printable"),
    ("base64_part", "utf-8", "base64"),
    ("dark_mode", "utf-8", "8bit"),
    ("base_href", "utf-8", "7bit"),
    ("flex_body", "utf-8", "base64"),
    ("grid_body", "utf-8", "7bit"),
    ("white_space_counts", "utf-8", "8bit"),
];

#[test]
#[ignore = "needs chromium, node, playwright-core and python3"]
fn nobody_sees_that_a_mail_is_tracked() {
    let relay = Running::start(Upstream::Inbox, "");
    let mut pairs = Pairs::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/pictures");
    let written = MAILS.iter().map(|(name, charset, encoding)| {
        let html = std::fs::read_to_string(folder.join(format!("{name}.html"))).unwrap();
        (*name, mail(&html, charset, encoding))
    });
    for (name, sent) in written.chain([("long", mail(&long(), "utf-8", "7bit"))]) {
        let to = format!("{}@ok.test", name.replace('_', "-"));
        send(&relay, &to, &sent);
        let copy = copy_for(&relay, &to);
        assert_ne!(copy, sent, "{name} was not tracked");
        if name == "long" {
            let (pixel, text) = (find(&copy, b"/i/").unwrap(), find(&copy, b"Chapter 0").unwrap());
            assert!(pixel < text, "beyond 100 KB the pixel comes first");
        }
        pairs.add(name, &sent, &copy);
    }
    println!("{}", pairs.look("pictures.js", &relay));
}

/// 200 KB.
fn long() -> String {
    let text = "Words that fill the page, one after the other, until it is long enough to be cut off. ".repeat(10);
    let chapter =
        |n: usize| format!("<h3>Chapter {n}</h3>\n<p>{text}<a href=\"https://book.example/{n}\">on</a></p>\n");
    let chapters: String = (0..220).map(chapter).collect();
    assert!(chapters.len() > 200_000);
    format!(
        "<html><head><style>body {{ margin: 0 }} h3:first-of-type {{ color: #c30 }}</style></head>\n<body>{chapters}</body></html>\n"
    )
}

fn mail(html: &str, charset: &str, encoding: &str) -> Vec<u8> {
    let html = html.replace('\n', "\r\n");
    let content: Vec<u8> = match charset {
        "iso-8859-1" => html.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect(),
        _ => html.into_bytes(),
    };
    let body = match encoding {
        "quoted-printable" => quoted_printable(&content).into_bytes(),
        "base64" => {
            let text = base64::engine::general_purpose::STANDARD.encode(&content).into_bytes();
            text.chunks(76).collect::<Vec<_>>().join(b"\r\n".as_slice())
        }
        _ => content,
    };
    let header = format!(
        "From: Ana <a@example.com>\r\nTo: Ben <b@ok.test>\r\nSubject: A picture\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <picture@example.com>\r\nMIME-Version: 1.0\r\nContent-Type: text/html; charset={charset}\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\r\n"
    );
    [header.as_bytes(), &body, b"\r\n"].concat()
}

/// Lines of 70 octets, whatever stands there.
fn quoted_printable(content: &[u8]) -> String {
    let mut out = String::new();
    let mut column = 0;
    let mut octets = content.iter().peekable();
    while let Some(octet) = octets.next() {
        if *octet == b'\r' && octets.next_if_eq(&&b'\n').is_some() {
            out.push_str("\r\n");
            column = 0;
            continue;
        }
        if column > 68 {
            out.push_str("=\r\n");
            column = 0;
        }
        let plain = octet.is_ascii_graphic() && *octet != b'=';
        let text = if plain { char::from(*octet).to_string() } else { format!("={octet:02X}") };
        column += text.len();
        out.push_str(&text);
    }
    out
}
