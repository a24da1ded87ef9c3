//! The server's certificate: loaded from PEM files, replaced while connections run.
//!
//! TLS 1.2 and later, ring. **Invariant:** a reload that fails leaves the certificate in use as it is.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate in use.
pub struct ServerTls {
    config: ArcSwap<ServerConfig>,
}

/// Why a certificate cannot be used. For the operator.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, #[source] io::Error),
    /// The file is not PEM, or holds nothing of the kind.
    #[error("{0} holds no usable PEM: {1}")]
    Pem(PathBuf, #[source] pem::Error),
    /// Certificate and key do not go together, or are of a kind that is not supported.
    #[error("certificate {0} and its key cannot be used: {1}")]
    Unusable(PathBuf, #[source] rustls::Error),
}

impl ServerTls {
    /// Reads both files. Blocks on the disk; meant for start and reload.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn load(certificate: &Path, private_key: &Path) -> Result<ServerTls, TlsError> {
        Ok(ServerTls { config: ArcSwap::from_pointee(read(certificate, private_key)?) })
    }

    /// Reads the files again, or others; connections that come after it see the new certificate.
    ///
    /// # Errors
    /// [`TlsError`]; the certificate in use stays.
    pub fn reload(&self, certificate: &Path, private_key: &Path) -> Result<(), TlsError> {
        self.config.store(Arc::new(read(certificate, private_key)?));
        Ok(())
    }

    /// For one handshake.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.load_full())
    }
}

fn read(certificate: &Path, private_key: &Path) -> Result<ServerConfig, TlsError> {
    let text = std::fs::read(certificate).map_err(|error| TlsError::Read(certificate.to_owned(), error))?;
    let chain: Result<Vec<CertificateDer<'static>>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|error| TlsError::Pem(certificate.to_owned(), error))?;
    if chain.is_empty() {
        return Err(TlsError::Pem(certificate.to_owned(), pem::Error::NoItemsFound));
    }
    let text = std::fs::read(private_key).map_err(|error| TlsError::Read(private_key.to_owned(), error))?;
    let key = PrivateKeyDer::from_pem_slice(&text).map_err(|error| TlsError::Pem(private_key.to_owned(), error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| TlsError::Unusable(certificate.to_owned(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_bad_reload_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["x.test".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["x.test".to_owned()]).unwrap();
        let certificate = write(folder.path(), "c.pem", &made.cert.pem());
        let key = write(folder.path(), "k.pem", &made.signing_key.serialize_pem());
        let tls = ServerTls::load(&certificate, &key).unwrap();
        let before = tls.config.load_full();

        // what an operator gets wrong: no file, no PEM, the key of another certificate
        let spoilt = ["", "no pem", &other.signing_key.serialize_pem()];
        for text in spoilt {
            write(folder.path(), "k.pem", text);
            assert!(tls.reload(&certificate, &key).is_err(), "{text}");
            assert!(Arc::ptr_eq(&before, &tls.config.load_full()));
        }
        std::fs::remove_file(&key).unwrap();
        assert!(matches!(tls.reload(&certificate, &key), Err(TlsError::Read(..))));

        write(folder.path(), "k.pem", &other.signing_key.serialize_pem());
        write(folder.path(), "c.pem", &other.cert.pem());
        tls.reload(&certificate, &key).unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.config.load_full()));
    }
}
