//! schemathesis, which knows nothing of us but the OpenAPI document, asks a running server: nothing it sends is answered with
//! a 5xx, and every answer is as the document says.

use std::path::Path;
use std::process::Command;

use crate::support::relay::{Running, Upstream};

const PASSWORD: &str = "correct horse battery";

#[test]
#[ignore = "needs Python and schemathesis"]
fn the_api_keeps_to_its_document() {
    let relay = Running::start(Upstream::Inbox, "");
    let added = relay.cli_with(&["user", "add", "fuzzer", "--role", "server-admin"], &format!("{PASSWORD}\n"));
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let peers =
        std::env::var("WAXSEAL_PEERS").expect("WAXSEAL_PEERS names the folder that tests/peers/install.sh filled");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/api_contract.py");
    let out = Command::new(Path::new(&peers).join("venv/bin/python"))
        .arg(script)
        .args([&format!("http://{}", relay.admin), "fuzzer", PASSWORD])
        .current_dir(relay.folder())
        .output()
        .unwrap();
    let said = format!("{}\n{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{said}");
    let generated = said.lines().find_map(|line| line.trim().split_once(" generated")?.0.parse::<u32>().ok());
    assert!(generated.is_some_and(|cases| cases > 500), "it asked hundreds of things: {said}");
}
