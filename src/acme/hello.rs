//! What a CA is shown that asks over TLS (tls-alpn-01, RFC 8737): a certificate that holds the answer, made for the occasion.

use std::sync::Arc;

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ClientHello;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// The protocol that only a CA speaks.
const PROTOCOL: &[u8] = b"acme-tls/1";

/// Whether a CA asks, and for which name: nobody else offers this protocol and no other.
pub(super) fn asked(hello: &ClientHello<'_>) -> Option<String> {
    let mut protocols = hello.alpn()?;
    let only = protocols.next() == Some(PROTOCOL) && protocols.next().is_none();
    hello.server_name().filter(|_| only).map(str::to_ascii_lowercase)
}

/// A server that shows this answer (the SHA-256 of the key authorization) for this name.
///
/// # Errors
/// The certificate cannot be made.
pub(super) fn config(name: &str, digest: &[u8; 32]) -> Result<ServerConfig, String> {
    let told = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(told)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(told)?;
    let certificate = params.self_signed(&key).map_err(told)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = provider.key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    // Not looked at by rustls, which knows nothing of the extension that the CA wants to see.
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate.der().clone()], key));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_no_client_auth().with_cert_resolver(Arc::new(shown)));
    let mut config = config.map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(config)
}
