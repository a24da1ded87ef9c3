//! A TLS handshake that goes on whatever the certificate is, and remembers what was shown and what a browser would say.
//!
//! **Invariant:** nothing secret goes over such a connection: it is for looking, not for talking.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate;
use crate::deliver::tls::{Roots, TlsSetupError, verifier};

/// What was shown, and whether a browser takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The certificate of the host, as far as it can be read.
    pub facts: Option<certificate::Facts>,
    /// `Err` in words.
    pub judged: Result<(), Flaw>,
}

/// Why browsers refuse a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It is for another name.
    Name,
    /// Nobody known vouches for it; or the certificates between it and a known authority are not sent along.
    Issuer,
    /// Anything else, in rustls' words.
    Other(String),
}

/// Looks at certificates by these roots.
#[derive(Clone)]
pub struct Looker {
    judge: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Looker {
    /// Reads the roots (blocking).
    ///
    /// # Errors
    /// There are none.
    pub fn new(roots: &Roots) -> Result<Looker, TlsSetupError> {
        let provider = Arc::new(ring::default_provider());
        Ok(Looker { judge: verifier(roots, &provider)?, provider })
    }

    /// A handshake, and what was shown in it. The caller bounds the wait.
    ///
    /// # Errors
    /// There is no TLS, or the connection ended.
    pub async fn handshake(&self, stream: TcpStream, host: &str) -> io::Result<(TlsStream<TcpStream>, Shown)> {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let name = ServerName::try_from(bare.to_owned()).map_err(io::Error::other)?;
        let witness = Arc::new(Witness { looker: self.clone(), host: bare.to_owned(), shown: Mutex::default() });
        let config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let shown = witness.shown.lock().unwrap_or_else(PoisonError::into_inner).take();
        shown.map(|shown| (stream, shown)).ok_or_else(|| io::Error::other("no certificate was shown"))
    }
}

/// Takes every certificate and remembers it.
struct Witness {
    looker: Looker,
    host: String,
    shown: Mutex<Option<Shown>>,
}

impl std::fmt::Debug for Witness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Witness").field("host", &self.host).finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = self.looker.judge.verify_server_cert(end_entity, intermediates, name, ocsp, now);
        let facts = certificate::facts(end_entity, &self.host).ok();
        let shown = Shown { facts, judged: judged.map(drop).map_err(flaw) };
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(shown);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.looker.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.looker.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.looker.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn flaw(error: Error) -> Flaw {
    match error {
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => Flaw::Expired,
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            Flaw::NotYet
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => Flaw::Name,
        // An authority of the same name with another key is another one.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => Flaw::Issuer,
        other => Flaw::Other(other.to_string()),
    }
}
