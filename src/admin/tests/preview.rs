//! The dashboard over a real socket, to look at with a browser.

use std::time::Duration;

use tokio::net::TcpListener;

use super::fixture::{PASSWORD, world};
use crate::admin;

/// Serves the fixture for as long as `WAXSEAL_PREVIEW_SECS` says and prints its address and a cookie.
#[tokio::test]
#[ignore = "serves the pages to look at: set WAXSEAL_PREVIEW_SECS"]
async fn preview() {
    let secs = std::env::var("WAXSEAL_PREVIEW_SECS").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let world = world().await;
    let cookie = world.browser("root").await.cookie;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{} login root, password {PASSWORD:?}, cookie {cookie}", listener.local_addr().unwrap());
    admin::serve(listener, world.site.clone(), tokio::time::sleep(Duration::from_secs(secs))).await.unwrap();
}
