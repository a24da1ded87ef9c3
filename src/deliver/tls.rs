//! TLS towards upstream: which certificates we accept, for which name.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_rustls::TlsConnector;

use super::dial::Stream;

/// A ready client side: roots, provider and the name to check.
#[derive(Clone)]
pub struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
    verified: bool,
}

/// Whose certificates are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The system's.
    System,
    /// The PEM file's, and no others.
    File(PathBuf),
    /// Anyone's: encrypts against those who listen, not against those who interfere. Only for opportunistic TLS
    /// without a login.
    Anyone,
}

/// Why no TLS client can be made of the configuration.
#[derive(Debug)]
pub enum TlsSetupError {
    /// The host is neither a DNS name nor an address.
    Host(String),
    /// The file cannot be read.
    File(PathBuf, io::Error),
    /// The file is not PEM, or holds no certificate.
    NoCertificate(PathBuf),
    /// The system has no root certificates.
    NoSystemRoots,
    /// rustls will not have it.
    Rustls(rustls::Error),
}

impl TlsClient {
    /// Reads the roots (blocking: at start and reload only). TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// [`TlsSetupError`], for the operator.
    pub fn new(host: &str, roots: &Roots) -> Result<TlsClient, TlsSetupError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| TlsSetupError::Host(host.to_owned()))?;
        let provider = Arc::new(ring::default_provider());
        let verifier = verifier(roots, &provider)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsSetupError::Rustls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        let verified = *roots != Roots::Anyone;
        Ok(TlsClient { connector: TlsConnector::from(Arc::new(config)), name, verified })
    }

    /// The same roots for another host; the roots are not read again.
    ///
    /// # Errors
    /// [`TlsSetupError::Host`].
    pub fn for_host(&self, host: &str) -> Result<TlsClient, TlsSetupError> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| TlsSetupError::Host(host.to_owned()))?;
        Ok(TlsClient { name, ..self.clone() })
    }

    /// Whether the peer has to prove who it is; only then may a password follow.
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// The handshake. The caller bounds the wait.
    ///
    /// # Errors
    /// The certificate or the handshake is bad, or the connection ended.
    pub async fn secure(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.connector.connect(self.name.clone(), stream).await?))
    }
}

/// What judges certificates by these roots. Reads them (blocking).
///
/// # Errors
/// [`TlsSetupError`], for the operator.
pub fn verifier(roots: &Roots, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, TlsSetupError> {
    let certificates = match roots {
        Roots::Anyone => return Ok(Arc::new(Unverified(provider.clone()))),
        Roots::System => rustls_native_certs::load_native_certs().certs,
        Roots::File(path) => certificates_of(path)?,
    };
    let mut store = RootCertStore::empty();
    let (usable, _) = store.add_parsable_certificates(certificates);
    if usable == 0 {
        return Err(match roots {
            Roots::File(path) => TlsSetupError::NoCertificate(path.clone()),
            _ => TlsSetupError::NoSystemRoots,
        });
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone()).build();
    verifier.map(|v| v as Arc<dyn ServerCertVerifier>).map_err(|_| TlsSetupError::NoSystemRoots)
}

fn certificates_of(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let pem = std::fs::read(path).map_err(|error| TlsSetupError::File(path.to_owned(), error))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    certificates.map_err(|_| TlsSetupError::NoCertificate(path.to_owned()))
}

/// Takes any certificate, but checks that the peer holds its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for TlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClient").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Display for TlsSetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TlsSetupError::Host(host) => write!(f, "`{host}` is neither a host name nor an address"),
            TlsSetupError::File(path, error) => write!(f, "{}: {error}", path.display()),
            TlsSetupError::NoCertificate(path) => write!(f, "{}: no usable PEM certificate in it", path.display()),
            TlsSetupError::NoSystemRoots => {
                f.write_str("the system has no root certificates: install ca-certificates or set ca_file")
            }
            TlsSetupError::Rustls(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TlsSetupError {}
