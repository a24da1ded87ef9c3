//! Certificates for tests, made on the spot.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops here")]

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A self-signed certificate and its PEM file, which goes with it.
#[derive(Clone)]
pub(crate) struct TestCertificate {
    /// For a server that shows it.
    pub(crate) server: Arc<ServerConfig>,
    folder: Arc<tempfile::TempDir>,
}

impl std::fmt::Debug for TestCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestCertificate")
    }
}

impl TestCertificate {
    /// Valid now, for these names.
    pub(crate) fn new(names: &[&str]) -> TestCertificate {
        TestCertificate::from_params(params(names))
    }

    /// Valid until 2001.
    pub(crate) fn expired(names: &[&str]) -> TestCertificate {
        let mut params = params(names);
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        TestCertificate::from_params(params)
    }

    fn from_params(params: CertificateParams) -> TestCertificate {
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der)
            .unwrap();
        TestCertificate { server: Arc::new(server), folder: Arc::new(folder) }
    }

    /// For `ca_file`.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }
}

fn params(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>()).unwrap()
}
