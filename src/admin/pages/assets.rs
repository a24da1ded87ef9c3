//! The style sheet, the scripts and the icon, named by their content so that browsers may keep them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

/// Where a page has a script of ours: as everywhere, and the script, which may ask us alone.
pub(super) const POLICY_WITH_SCRIPT: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; \
                                             connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// One file, with its type and its name.
struct Asset {
    text: &'static str,
    kind: &'static str,
    name: LazyLock<String>,
}

static STYLE: Asset = Asset { text: STYLE_TEXT, kind: CSS, name: LazyLock::new(|| name(STYLE_TEXT, "css")) };
static ICON: Asset = Asset { text: ICON_TEXT, kind: SVG, name: LazyLock::new(|| name(ICON_TEXT, "svg")) };
static ACTIVITY: Asset = Asset { text: ACTIVITY_TEXT, kind: JS, name: LazyLock::new(|| name(ACTIVITY_TEXT, "js")) };
static TEST_MAIL: Asset = Asset { text: TEST_MAIL_TEXT, kind: JS, name: LazyLock::new(|| name(TEST_MAIL_TEXT, "js")) };
static HEALTH: Asset = Asset { text: HEALTH_TEXT, kind: JS, name: LazyLock::new(|| name(HEALTH_TEXT, "js")) };

const STYLE_TEXT: &str = include_str!("../assets/style.css");
const ICON_TEXT: &str = include_str!("../assets/seal.svg");
const ACTIVITY_TEXT: &str = include_str!("../assets/activity.js");
const TEST_MAIL_TEXT: &str = include_str!("../assets/test_mail.js");
const HEALTH_TEXT: &str = include_str!("../assets/health.js");

impl Asset {
    fn path(&self) -> String {
        format!("/assets/{}", *self.name)
    }
}

/// Where the style sheet is.
pub(super) fn style_path() -> String {
    STYLE.path()
}

/// Where the icon is.
pub(super) fn icon_path() -> String {
    ICON.path()
}

/// Where the Activity page's script is.
pub(super) fn script_path() -> String {
    ACTIVITY.path()
}

/// Where the test mail's script is.
pub(super) fn test_mail_script_path() -> String {
    TEST_MAIL.path()
}

/// Where the Health page's script is.
pub(super) fn health_script_path() -> String {
    HEALTH.path()
}

/// `GET /assets/{name}`
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let all = [&STYLE, &ICON, &ACTIVITY, &TEST_MAIL, &HEALTH];
    let Some(asset) = all.into_iter().find(|asset| *asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let kept = "public, max-age=31536000, immutable";
    ([(header::CONTENT_TYPE, asset.kind), (header::CACHE_CONTROL, kept)], asset.text).into_response()
}

fn name(text: &str, ending: &str) -> String {
    let hash: String = Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{hash}.{ending}")
}
