//! Logins judged by a real Postfix, and mail over them. Postfix asks a password server of ours, in Dovecot's protocol.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::client::{Client, Submission};
use crate::support::postfix::Postfix;
use crate::support::relay::{Running, Upstream};

const SECRET: &str = "Tr0ub4dor&3";

/// Answers for one account until the test ends.
fn serve_passwords(socket: UnixListener) {
    std::thread::spawn(move || {
        for stream in socket.incoming().flatten() {
            std::thread::spawn(move || drop(answer(stream)));
        }
    });
}

fn answer(stream: UnixStream) -> std::io::Result<()> {
    let mut to = stream.try_clone()?;
    to.write_all(b"VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t0123456789abcdef\nDONE\n")?;
    let right = STANDARD.encode(format!("\0ana@example.com\0{SECRET}"));
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let mut words = line.split('\t');
        if words.next() != Some("AUTH") {
            continue;
        }
        let id = words.next().unwrap_or_default().to_owned();
        let said = words.find_map(|word| word.strip_prefix("resp=")).unwrap_or_default();
        let told = if said == right { "OK" } else { "FAIL" };
        to.write_all(format!("{told}\t{id}\tuser=ana@example.com\n").as_bytes())?;
    }
    Ok(())
}

#[test]
#[ignore = "needs Postfix"]
fn a_real_server_judges_and_carries() {
    let folder = tempfile::Builder::new().prefix("waxseal-sasl-").tempdir().unwrap();
    let open = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(folder.path(), 0o755);
    let path = folder.path().join("auth");
    serve_passwords(UnixListener::bind(&path).unwrap());
    open(&path, 0o666);
    let postfix = Postfix::start_with(&format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = dovecot\nsmtpd_sasl_path = {}\n\
         smtpd_relay_restrictions = permit_sasl_authenticated, reject\n\
         smtpd_recipient_restrictions = check_recipient_access static:HOLD\n",
        path.display()
    ));
    let relay = Running::start(Upstream::Passthrough(postfix.addr), "create_users = true\n");
    let log_in = |secret: &str| {
        let mut client = Client::connect(relay.smtp).unwrap();
        let response = STANDARD.encode(format!("\0ana@example.com\0{secret}"));
        let reply = client.command(&format!("AUTH PLAIN {response}")).unwrap();
        (client, reply)
    };
    let (_, reply) = log_in("wrong");
    assert!(
        reply.code == 535 && reply.text.contains("authentication failed"),
        "Postfix' own words: {reply:?}\n{}",
        postfix.log()
    );
    let (mut client, reply) = log_in(SECRET);
    assert_eq!(reply.code, 235, "{reply:?}");
    assert_eq!(client.submit(&Submission::new("m1", &["b", "c"])).code(), 250);
    let held = postfix.wait_for(2, Duration::from_secs(20));
    assert_eq!(held.len(), 2, "a copy for each");
    assert!(postfix.envelope(&held[0]).contains("sasl_username=ana@example.com"), "{}", postfix.envelope(&held[0]));
    assert!(relay.cli(&["user", "list"]).contains("ana@example.com"));
}
