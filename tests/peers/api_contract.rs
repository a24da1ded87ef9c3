//! schemathesis, which knows nothing of us but the OpenAPI document and the names of a few things that are there, asks a
//! running server: nothing it sends is answered with a 5xx, and every answer is as the document says.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::scenarios::first_light::{copy_for, submit, wait_for};
use crate::scenarios::logins::plain;
use crate::support::client::{Client, Submission};
use crate::support::relay::{Running, Upstream};
use crate::support::unsplice::{clicks, http, pixels};

const PASSWORD: &str = "correct horse battery";
const AGENT: [(&str, &str); 1] =
    [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.3.1")];
const MAIL: &str = "From: Ana <ana@example.com>\r\nTo: bob@x.test\r\nSubject: The offer\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/html\r\n\r\n<html><body><a href=\"https://shop.example/offer\">the offer</a></body></html>\r\n";

/// `other` sends through a port where nobody listens: its mail waits.
fn running() -> Running {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let other = format!(
        "[[org]]\nname = \"other\"\ndomains = [\"other.example\"]\n[org.upstream]\nhost = \"127.0.0.1\"\nport = {}\n\
         tls = \"none\"\n[webhooks]\nallow_private = true\n",
        nobody.port()
    );
    Running::start(Upstream::Inbox, &other)
}

/// A mail that was opened and followed, one that waits, a webhook that was told, people with ways in; their names by the
/// parameters of the document.
fn seeded(relay: &Running) -> Value {
    for (login, org) in [("fuzzer", None), ("victim", Some("default")), ("eve@other.example", Some("other"))] {
        let whose = org.map_or(vec!["--role", "server-admin"], |org| vec!["--org", org]);
        let added = relay.cli_with(&[&["user", "add", login], &whose[..]].concat(), &format!("{PASSWORD}\n"));
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    }
    assert!(submit(relay.smtp, "ana@example.com", &["bob@x.test"], MAIL).starts_with("250"));
    let copy = copy_for(relay, "bob@x.test");
    for path in pixels(&copy, &relay.public_url()).iter().chain(&clicks(&copy, &relay.public_url())) {
        assert!(http(relay.tracking, "GET", path, &AGENT).status < 400);
    }
    let id_of = |what: &[&str], list: &str, key: &str| {
        wait_for(|| {
            let found: Value = serde_json::from_str(&relay.cli(what)).unwrap();
            let rows = if list.is_empty() { &found } else { &found[list] };
            rows.get(0).and_then(|row| row[key].as_str()).map(str::to_owned)
        })
    };
    wait_for(|| (relay.cli(&["events"]).lines().count() > 1).then_some(()));
    let mut client = Client::connect(relay.smtp).unwrap();
    assert_eq!(client.command("EHLO client.test").unwrap().code, 250);
    assert_eq!(client.command(&plain("eve@other.example", PASSWORD)).unwrap().code, 235);
    let waiting = Submission { sender: "eve@other.example".to_owned(), ..Submission::new("waits", &["dan"]) };
    let content = String::from_utf8(waiting.content.clone()).unwrap().replace("a@example.com", "eve@other.example");
    client.submit(&Submission { content: content.into_bytes(), ..waiting });
    let hook = ["webhook", "add", "http://127.0.0.1:9/in", "--org", "default", "--json"];
    let hook: Value = serde_json::from_str(&relay.cli(&hook)).unwrap();
    let hook = hook["id"].as_str().unwrap();
    relay.cli(&["webhook", "test", hook]);
    relay.cli(&["user", "app-password", "add", "victim", "--name", "phone"]);
    relay.cli(&["user", "invite", "new@example.com", "--org", "default"]);
    json!({
        "/messages/{id}": id_of(&["message", "list", "--json"], "messages", "id"),
        "/queue/{id}": id_of(&["queue", "list", "--json"], "mails", "id"),
        "/inbox/{id}": id_of(&["inbox", "list", "--json"], "", "id"),
        "/webhooks/{id}": hook,
        "/app-passwords/{id}": id_of(&["user", "app-password", "list", "victim", "--json"], "", "id"),
        "/invitations/{id}": id_of(&["user", "invitations", "--json"], "", "id"),
        "/keys/{id}": 0,
        "{login}": "victim",
        "{name}": "default",
        "{address}": "bob@x.test",
        "{index}": 0,
        "{sequence}": 1,
        "{delivery}": 1,
    })
}

#[test]
#[ignore = "needs Python and schemathesis"]
fn the_api_keeps_to_its_document() {
    let relay = running();
    let names = seeded(&relay);
    let peers =
        std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/api_contract.py");
    let out = Command::new(Path::new(&peers).join("venv/bin/python"))
        .arg(script)
        .args([&format!("http://{}", relay.admin), "fuzzer", PASSWORD, &names.to_string()])
        .current_dir(relay.folder())
        .output()
        .unwrap();
    let said = format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    let counted =
        said.lines().filter_map(|line| line.trim().split_once(" generated")?.0.replace(',', "").parse::<u32>().ok());
    let generated: u32 = counted.sum();
    assert!(generated > 1_000, "it asked of things that are there, and of many that are not: {generated} {said}");
}
