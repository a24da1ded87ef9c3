//! Takes waxseal's work out of a delivered copy again, with nothing but what a recipient has: the bytes and an HTTP client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// One HTTP answer, as text.
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    /// The head with its status line.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, v) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then(|| v.trim())
        })
    }
}

/// One HTTP/1.1 request over its own connection.
pub(crate) fn http(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    answer(&mut stream)
}

fn answer(stream: &mut TcpStream) -> Answer {
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    let end = octets.windows(4).position(|w| w == b"\r\n\r\n").expect("an HTTP head");
    let head = String::from_utf8_lossy(&octets[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: octets[end + 4..].to_vec() }
}

/// A form sent from its own page, as a browser does it.
pub(crate) fn http_post(addr: SocketAddr, path: &str, form: &str) -> Answer {
    http_post_as(addr, path, "", form)
}

/// The same with this cookie.
pub(crate) fn http_post_as(addr: SocketAddr, path: &str, cookie: &str, form: &str) -> Answer {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = form.len();
    let head =
        "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\nConnection: close\r\n";
    let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: {addr}\r\n{head}{cookie}Content-Length: {length}\r\n\r\n{form}");
    stream.write_all(request.as_bytes()).unwrap();
    answer(&mut stream)
}

/// The tracked paths (`/c/…`) in a copy, in order.
pub(crate) fn clicks(copy: &[u8], public_url: &str) -> Vec<String> {
    paths(copy, &format!("{public_url}/c/"), "/c/")
}

/// The pixel paths (`/i/….gif`) in a copy.
pub(crate) fn pixels(copy: &[u8], public_url: &str) -> Vec<String> {
    paths(copy, &format!("{public_url}/i/"), "/i/")
}

fn paths(copy: &[u8], prefix: &str, path: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(copy);
    text.split(prefix)
        .skip(1)
        .map(|rest| {
            let token: String =
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')).collect();
            format!("{path}{token}")
        })
        .collect()
}

/// The copy as it would be had waxseal done nothing: every tracked link replaced by where it really leads (asked over
/// HTTP, HEAD so that no event is made), the pixel cut out, the first header field (our Received) cut off.
/// For 7bit and 8bit bodies whose hrefs are written with `&amp;`.
pub(crate) fn unsplice(copy: &[u8], tracking: SocketAddr, public_url: &str) -> Vec<u8> {
    let mut text = copy.to_vec();
    for path in clicks(copy, public_url) {
        let answer = http(tracking, "HEAD", &path, &[]);
        assert_eq!(answer.status, 302, "{path} must lead somewhere");
        let destination = answer.header("location").unwrap().replace('&', "&amp;");
        text = replace(&text, format!("{public_url}{path}").as_bytes(), destination.as_bytes());
    }
    for path in pixels(copy, public_url) {
        let at = find(&text, path.as_bytes()).unwrap();
        let start = text[..at].windows(4).rposition(|w| w == b"<img").unwrap();
        let end = at + text[at..].iter().position(|b| *b == b'>').unwrap() + 1;
        text.drain(start..end);
    }
    text
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = find(text, from).unwrap();
    [&text[..at], to, &text[at + from.len()..]].concat()
}

/// Where `needle` begins in `hay`.
pub(crate) fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}
