//! `/api/v1/figures`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use super::messages::org_asked;
use super::shapes::{Figures, FiguresOfDay};
use super::{Api, Problem, Query};
use crate::admin::actions::figures::FiguresQuery;

/// Days when the caller names no number: a month.
const DAYS: u32 = 30;
const DAY_SECS: i64 = 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    org: Option<String>,
    login: Option<String>,
    days: Option<u32>,
}

pub(super) async fn show(State(api): State<Api>, Query(asked): Query<Asked>) -> Result<Json<Figures>, Problem> {
    let last_day = jiff::Timestamp::now().as_second().div_euclid(DAY_SECS);
    let query =
        FiguresQuery { org: org_asked(asked.org)?, login: asked.login, last_day, days: asked.days.unwrap_or(DAYS) };
    let days = api.actions.figures(&api.viewer, query).await?;
    Ok(Json(Figures { days: days.into_iter().map(FiguresOfDay::from).collect() }))
}
