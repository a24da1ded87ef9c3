//! The core of waxseal, compiled from its own files for the fuzz targets.

#[path = "../../../src/message/mod.rs"]
pub mod message;
#[path = "../../../src/policy/mod.rs"]
pub mod policy;
// The one reader of octets from outside that needs a stream.
#[path = "../../../src/proxy_protocol.rs"]
mod proxy_protocol;
#[path = "../../../src/rewrite/mod.rs"]
pub mod rewrite;
#[path = "../../../src/settings/mod.rs"]
pub mod settings;
#[path = "../../../src/smtp/mod.rs"]
pub mod smtp;
#[path = "../../../src/token/mod.rs"]
pub mod token;

/// Reads a PROXY header; the error as its text.
pub async fn proxy_header<R: tokio::io::AsyncRead + Unpin>(
    stream: &mut R,
) -> Result<Option<std::net::IpAddr>, String> {
    proxy_protocol::read(stream).await.map_err(|broken| broken.to_string())
}
