//! Where a webhook is: an absolute http or https URL, taken apart once.

use std::net::IpAddr;

use hyper::Uri;

use super::address::is_private;

/// Longest URL in bytes.
pub const URL_BYTES_MAX: usize = 2_000;

/// A URL that can be posted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// https.
    pub tls: bool,
    /// `Host:`, as the URL has it.
    pub authority: String,
    /// What is asked for.
    pub path_and_query: String,
}

/// Why a URL is not a webhook's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It is no URL of the kind.
    #[error("write an absolute address, as https://example.com/hooks")]
    NoUrl,
    /// It is too long.
    #[error("it is longer than 2,000 bytes")]
    TooLong,
    /// A user name or password is in it.
    #[error("leave user name and password out of it: the signature proves who sends")]
    Login,
    /// An address of this machine or a private network.
    #[error(
        "{0} is an address of this machine or of a private network; allow_private in [webhooks] of config.toml lets such through"
    )]
    Private(IpAddr),
}

impl Target {
    /// Reads a URL. An address in it is looked at here; a name's addresses when they are connected to.
    ///
    /// # Errors
    /// [`BadTarget`], for whoever typed it.
    pub fn parse(url: &str, allow_private: bool) -> Result<Target, BadTarget> {
        if url.len() > URL_BYTES_MAX {
            return Err(BadTarget::TooLong);
        }
        if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadTarget::NoUrl);
        }
        let uri: Uri = url.parse().map_err(|_| BadTarget::NoUrl)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(BadTarget::NoUrl),
        };
        let authority = uri.authority().ok_or(BadTarget::NoUrl)?;
        if authority.as_str().contains('@') {
            return Err(BadTarget::Login);
        }
        let written = authority.host();
        let port = match authority.as_str().strip_prefix(written).and_then(|rest| rest.strip_prefix(':')) {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(BadTarget::NoUrl)?,
            None if tls => 443,
            None => 80,
        };
        let host = written.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(written).to_owned();
        if host.is_empty() {
            return Err(BadTarget::NoUrl);
        }
        if let Ok(address) = host.parse::<IpAddr>()
            && !allow_private
            && is_private(address)
        {
            return Err(BadTarget::Private(address));
        }
        Ok(Target {
            port,
            tls,
            authority: authority.as_str().to_owned(),
            path_and_query: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            host,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_taken_apart() {
        let rows = [
            ("https://hooks.example", ("hooks.example", 443, true, "hooks.example", "/")),
            ("http://hooks.example:8080/in?a=1", ("hooks.example", 8080, false, "hooks.example:8080", "/in?a=1")),
            ("https://[2606:4700::1]:8443/x", ("2606:4700::1", 8443, true, "[2606:4700::1]:8443", "/x")),
            ("HTTPS://Hooks.Example/#part", ("Hooks.Example", 443, true, "Hooks.Example", "/")),
        ];
        for (url, (host, port, tls, authority, path)) in rows {
            let target = Target::parse(url, false).unwrap_or_else(|wrong| panic!("{url}: {wrong}"));
            assert_eq!((target.host.as_str(), target.port, target.tls), (host, port, tls), "{url}");
            assert_eq!((target.authority.as_str(), target.path_and_query.as_str()), (authority, path), "{url}");
        }
    }

    #[test]
    fn what_is_no_webhooks_address() {
        let long = format!("https://hooks.example/{}", "x".repeat(URL_BYTES_MAX));
        let private = |address: &str| BadTarget::Private(address.parse().unwrap());
        let rows = [
            ("", BadTarget::NoUrl),
            ("hooks.example", BadTarget::NoUrl),
            ("/hooks", BadTarget::NoUrl),
            ("ftp://hooks.example/", BadTarget::NoUrl),
            ("https://", BadTarget::NoUrl),
            ("https://hooks.example:0/", BadTarget::NoUrl),
            ("https://hooks.example:99999/", BadTarget::NoUrl),
            ("https://hooks.example/a b", BadTarget::NoUrl),
            ("https://hooks.example/\r\nHost: x", BadTarget::NoUrl),
            (long.as_str(), BadTarget::TooLong),
            ("https://user:pass@hooks.example/", BadTarget::Login),
            ("http://127.0.0.1:8026/", private("127.0.0.1")),
            ("http://[::ffff:10.0.0.1]/", private("::ffff:10.0.0.1")),
            ("http://169.254.169.254/latest", private("169.254.169.254")),
        ];
        for (url, wrong) in rows {
            assert_eq!(Target::parse(url, false), Err(wrong), "{url}");
        }
        assert!(Target::parse("http://127.0.0.1:8026/", true).is_ok());
    }
}
