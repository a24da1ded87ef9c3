//! A tracking host as written in config and key file: `http(s)://host[:port]`, and the host in a `Host` header.
//!
//! **Invariant:** host names compare without case and without port: a proxy in front may change the port it names.

/// Why a text is no tracking host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a tracking URL is http:// or https://, a host and perhaps a port, and nothing after it")]
pub struct BadOrigin;

/// The lower-case host name in `http(s)://host[:port]`; an IPv6 address keeps its brackets.
///
/// # Errors
/// [`BadOrigin`]: another scheme, a user, a path, a query, or a byte that no host has.
pub fn host_of(url: &str) -> Result<String, BadOrigin> {
    let authority = strip_scheme(url).ok_or(BadOrigin)?;
    let host = host_in(authority).ok_or(BadOrigin)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b':' | b'[' | b']');
    if host.is_empty() || !host.bytes().all(allowed) {
        return Err(BadOrigin);
    }
    Ok(host.to_ascii_lowercase())
}

/// The host in an authority or a `Host` header, as written, without its port; `None` when what follows is no port.
pub fn host_in(authority: &str) -> Option<&str> {
    let port_at = match authority.rfind(']') {
        Some(bracket) => authority.get(bracket..)?.find(':').map(|colon| bracket + colon),
        None => authority.find(':'),
    };
    let Some(port_at) = port_at else { return Some(authority) };
    let (host, port) = authority.split_at_checked(port_at)?;
    let digits = port.strip_prefix(':')?;
    (digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit())).then_some(host)
}

/// What follows `http://` or `https://` in any case.
pub(super) fn strip_scheme(url: &str) -> Option<&str> {
    ["https://", "http://"].into_iter().find_map(|scheme| {
        let (start, rest) = url.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First what is a tracking host, then each thing that is not.
    #[test]
    fn host_of_a_tracking_url() {
        for (url, host) in [
            ("https://t.example.com", Some("t.example.com")),
            ("HTTP://T.Example.COM:8025", Some("t.example.com")),
            ("http://127.0.0.1:8025", Some("127.0.0.1")),
            ("http://[::1]:8025", Some("[::1]")),
            ("http://[::1]", Some("[::1]")),
            ("t.example.com", None),
            ("ftp://t.example.com", None),
            ("https://", None),
            ("https://:80", None),
            ("https://t.example.com/", None),
            ("https://t.example.com/x", None),
            ("https://t.example.com?x", None),
            ("https://user@t.example.com", None),
            ("https://t.example.com:http", None),
            ("https://t.example.com:123456", None),
            ("https://t.exämple.com", None),
            ("https://t.example.com\r\nX: y", None),
        ] {
            assert_eq!(host_of(url).ok().as_deref(), host, "{url:?}");
        }
    }
}
