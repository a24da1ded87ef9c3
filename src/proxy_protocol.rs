//! The PROXY protocol, versions 1 and 2: a proxy that forwards connections says first for whom.
//!
//! **Invariant:** not an octet behind the header is taken. What is no such header, too long, or too late ends the
//! connection: whoever trusts a proxy to speak for others cannot guess whom it means.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Both versions are at least so long, and it is enough to tell them apart.
const FIRST_BYTES: usize = 12;
/// How version 2 begins.
const SIGNATURE: &[u8; FIRST_BYTES] = b"\r\n\r\n\0\r\nQUIT\n";
/// Octets of a line of version 1, CRLF included.
const LINE_BYTES_MAX: usize = 107;
/// Octets of what follows version 2's 16: addresses take 36, and a few TLVs.
const REST_BYTES_MAX: usize = 2048;

/// The header is none.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection ended or failed.
    #[error("the PROXY header did not arrive whole: {0}")]
    Io(#[from] io::Error),
    /// It is something else, or breaks its own rules.
    #[error("what came first is no PROXY header: {0}")]
    Form(&'static str),
}

/// Reads the header; the client's address, or `None` when the proxy speaks for itself. The caller sets the deadline.
///
/// # Errors
/// [`Broken`]: the connection is of no use.
pub async fn read<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<IpAddr>, Broken> {
    let mut first = [0; FIRST_BYTES];
    stream.read_exact(&mut first).await?;
    if &first == SIGNATURE {
        return read_version_2(stream).await;
    }
    if !first.starts_with(b"PROXY ") {
        return Err(Broken::Form("it begins otherwise"));
    }
    let mut line = first.to_vec();
    // Octet by octet, for what follows the line is not ours. It happens once a connection.
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_BYTES_MAX {
            return Err(Broken::Form("the line is too long"));
        }
        line.push(stream.read_u8().await?);
    }
    version_1(&line)
}

/// `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`
fn version_1(line: &[u8]) -> Result<Option<IpAddr>, Broken> {
    let line = std::str::from_utf8(line).map_err(|_| Broken::Form("the line is no text"))?;
    let mut words = line.trim_end_matches("\r\n").split(' ').skip(1);
    let family = words.next().unwrap_or_default();
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let source = words.next().unwrap_or_default();
    let address = match family {
        "TCP4" => source.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => source.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(Broken::Form("the family is none of TCP4, TCP6, UNKNOWN")),
    };
    let is_whole = words.count() == 3;
    address.filter(|_| is_whole).map(Some).ok_or(Broken::Form("the addresses cannot be read"))
}

async fn read_version_2<R: AsyncRead + Unpin>(stream: &mut R) -> Result<Option<IpAddr>, Broken> {
    let (version_and_command, family) = (stream.read_u8().await?, stream.read_u8().await?);
    let length = usize::from(stream.read_u16().await?);
    if length > REST_BYTES_MAX {
        return Err(Broken::Form("the header is too long"));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    match version_and_command {
        // LOCAL: the proxy asks for itself, a health check.
        0x20 => Ok(None),
        0x21 => version_2(family, &rest),
        _ => Err(Broken::Form("version and command are unknown")),
    }
}

fn version_2(family: u8, rest: &[u8]) -> Result<Option<IpAddr>, Broken> {
    let short = Broken::Form("the addresses are cut short");
    match family {
        // TCP over IPv4: source, destination, two ports.
        0x11 => match rest.get(..12).and_then(|rest| rest.first_chunk::<4>()) {
            Some(source) => Ok(Some(IpAddr::from(*source))),
            None => Err(short),
        },
        0x21 => match rest.get(..36).and_then(|rest| rest.first_chunk::<16>()) {
            Some(source) => Ok(Some(IpAddr::from(*source))),
            None => Err(short),
        },
        // Unspecified, datagrams, UNIX sockets: no address of a client.
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the octets say, and what of them is left.
    async fn say(octets: &[u8]) -> (Result<Option<IpAddr>, String>, Vec<u8>) {
        let mut rest = octets;
        let said = read(&mut rest).await.map_err(|error| error.to_string());
        (said, rest.to_vec())
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    #[tokio::test]
    async fn the_client_is_who_the_proxy_says() {
        let v4 = [[192, 0, 2, 1], [10, 0, 0, 1], [0xdc, 0x04, 0x01, 0xbb]].concat();
        let mut v6 = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets().to_vec();
        v6.extend([0; 20]);
        let with_tlv = [v4.clone(), vec![0x03, 0, 1, 7]].concat();
        let rows: &[(Vec<u8>, Option<&str>)] = &[
            (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n".to_vec(), Some("192.0.2.1")),
            (b"PROXY TCP6 2001:db8::1 ::1 56324 443\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &v4), Some("192.0.2.1")),
            (v2(0x21, 0x21, &v6), Some("2001:db8::1")),
            (v2(0x21, 0x11, &with_tlv), Some("192.0.2.1")),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, &v4), None),
            (v2(0x21, 0x31, &[0; 216]), None),
            (v2(0x21, 0x00, b""), None),
        ];
        for (header, expected) in rows {
            let request = b"GET / HTTP/1.1\r\n\r\n";
            let (said, left) = say(&[header, request.as_slice()].concat()).await;
            assert_eq!(said, Ok(expected.map(|text| text.parse().unwrap())), "{header:?}");
            assert_eq!(left, request, "what follows is not ours");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200], b"\r\n".to_vec()].concat();
        for octets in [
            b"".to_vec(),
            b"PROXY TCP4 192.0.2.1".to_vec(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 ::1 56324 443\r\n".to_vec(),
            b"PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n".to_vec(),
            b"PROXY TCP5 192.0.2.1 198.51.100.1 1 2\r\n".to_vec(),
            b"PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n".to_vec(),
            b"PROXY \xff\xff\xff\xff\xff\xff\r\n".to_vec(),
            long,
            v2(0x21, 0x11, &[192, 0, 2, 1]),
            v2(0x21, 0x21, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 3000]),
            v2(0x21, 0x11, &[0; 12])[..20].to_vec(),
        ] {
            assert!(say(&octets).await.0.is_err(), "{:?}", String::from_utf8_lossy(&octets));
        }
    }
}
