//! A certificate is renewed on the disk, and nobody tells the server.

use lettre::SmtpTransport;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};

use super::first_light::wait_for;
use crate::support::relay::{Running, Upstream};

#[test]
fn the_new_one_is_shown_without_a_restart() {
    let relay = Running::start(Upstream::Inbox, "");
    let trusts = |pem: &str| {
        let tls = TlsParameters::builder("localhost".to_owned());
        let tls = tls.add_root_certificate(Certificate::from_pem(pem.as_bytes()).unwrap()).build().unwrap();
        let port = relay.smtps.port();
        SmtpTransport::builder_dangerous("localhost")
            .port(port)
            .tls(Tls::Wrapper(tls))
            .build()
            .test_connection()
            .is_ok()
    };
    let first = std::fs::read_to_string(relay.certificate()).unwrap();
    assert!(trusts(&first));
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certs = relay.folder().join("certs");
    for (name, text) in [("relay.crt", made.cert.pem()), ("relay.key", made.signing_key.serialize_pem())] {
        std::fs::write(certs.join("new"), text).unwrap();
        std::fs::rename(certs.join("new"), certs.join(name)).unwrap();
    }
    wait_for(|| trusts(&made.cert.pem()).then_some(()));
    assert!(!trusts(&first), "the old one is shown no more");
}
