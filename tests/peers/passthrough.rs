//! Logins judged by a real Postfix with Cyrus SASL, and mail over them.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::client::{Client, Submission};
use crate::support::postfix::Postfix;
use crate::support::relay::{Running, Upstream};

const SECRET: &str = "Tr0ub4dor&3";

/// A folder with one account, `ana@example.com`, that Postfix may read.
fn accounts() -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("waxseal-sasl-").tempdir().unwrap();
    let open = |mode| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(folder.path(), open(0o755)).unwrap();
    let database = folder.path().join("sasldb2");
    let mut child = Command::new("saslpasswd2")
        .args(["-p", "-c", "-u", "example.com", "-f"])
        .arg(&database)
        .arg("ana")
        .stdin(Stdio::piped())
        .spawn()
        .expect("sasl2-bin is not installed");
    child.stdin.take().unwrap().write_all(SECRET.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    std::fs::set_permissions(&database, open(0o644)).unwrap();
    let settings = format!(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\nsasldb_path: {}\n",
        database.display()
    );
    std::fs::write(folder.path().join("smtpd.conf"), settings).unwrap();
    folder
}

#[test]
#[ignore = "needs Postfix, sasl2-bin and libsasl2-modules"]
fn a_real_server_judges_and_carries() {
    let accounts = accounts();
    let postfix = Postfix::start_with(&format!(
        "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = cyrus\nsmtpd_sasl_path = smtpd\n\
         cyrus_sasl_config_path = {}\nsmtpd_sasl_local_domain = example.com\n\
         smtpd_relay_restrictions = permit_sasl_authenticated, reject\n\
         smtpd_recipient_restrictions = check_recipient_access static:HOLD\n",
        accounts.path().display()
    ));
    let relay = Running::start(Upstream::Passthrough(postfix.addr), "create_users = true\n");
    let log_in = |secret: &str| {
        let mut client = Client::connect(relay.smtp).unwrap();
        let response = STANDARD.encode(format!("\0ana@example.com\0{secret}"));
        let reply = client.command(&format!("AUTH PLAIN {response}")).unwrap();
        (client, reply)
    };
    let (_, reply) = log_in("wrong");
    assert!(reply.code == 535 && reply.text.contains("authentication"), "Postfix' own words: {reply:?}");
    let (mut client, reply) = log_in(SECRET);
    assert_eq!(reply.code, 235, "{reply:?}");
    assert_eq!(client.submit(&Submission::new("m1", &["b", "c"])).code(), 250);
    let held = postfix.wait_for(2, Duration::from_secs(20));
    assert_eq!(held.len(), 2, "a copy for each");
    assert!(postfix.envelope(&held[0]).contains("sasl_username: ana@example.com"), "{}", postfix.envelope(&held[0]));
    assert!(relay.cli(&["user", "list"]).contains("ana@example.com"));
}
