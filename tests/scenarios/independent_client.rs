//! lettre, which shares no code with our session, sends through waxseal with STARTTLS and with implicit TLS, logged in.

use lettre::message::{MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Message, SmtpTransport, Transport};

use crate::support::relay::{Running, Upstream};

#[test]
fn lettre_logs_in_and_sends_over_both_kinds_of_tls() {
    let relay = Running::start(Upstream::Inbox, "");
    relay.add_user("ana@example.com", "correct horse battery", "default");
    let pem = std::fs::read(relay.certificate()).unwrap();
    let tls = TlsParameters::builder("localhost".to_owned())
        .add_root_certificate(Certificate::from_pem(&pem).unwrap())
        .build()
        .unwrap();
    let doors = [(relay.smtp.port(), Tls::Required(tls.clone())), (relay.smtps.port(), Tls::Wrapper(tls))];
    for (number, (port, tls)) in doors.into_iter().enumerate() {
        let login = |password: &str| {
            SmtpTransport::builder_dangerous("localhost")
                .port(port)
                .tls(tls.clone())
                .credentials(Credentials::new("ana@example.com".to_owned(), password.to_owned()))
                .build()
        };
        let refused = login("wrong").send(&mail("nobody@x.test")).unwrap_err();
        assert!(refused.is_permanent(), "{refused}");
        let to = format!("reader{number}@x.test");
        let reply = login("correct horse battery").send(&mail(&to)).unwrap();
        assert!(reply.is_positive(), "{reply:?}");
        let inbox = relay.cli(&["inbox", "list", "--json"]);
        assert!(inbox.contains(&to) && !inbox.contains("nobody@x.test"), "{inbox}");
    }
}

fn mail(to: &str) -> Message {
    Message::builder()
        .from("Ana <ana@example.com>".parse().unwrap())
        .to(to.parse().unwrap())
        .subject("Grüße")
        .multipart(
            MultiPart::alternative()
                .singlepart(SinglePart::plain("see https://shop.example/".to_owned()))
                .singlepart(SinglePart::html("<p>see <a href=\"https://shop.example/\">this</a></p>".to_owned())),
        )
        .unwrap()
}
