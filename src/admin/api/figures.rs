//! `/api/v1/figures`

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::messages::org_asked;
use super::shapes::{Figures, FiguresOfDay};
use super::{Api, Problem, Query};
use crate::admin::actions::figures::FiguresQuery;

/// Days when the caller names no number: a month.
const DAYS: u32 = 30;
const DAY_SECS: i64 = 86_400;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Only this organisation's.
    org: Option<String>,
    /// Only this login's.
    login: Option<String>,
    /// How many, today included; 30 when not given.
    days: Option<u32>,
}

/// Opens and clicks by the day.
#[utoipa::path(get, path = "/api/v1/figures", tag = "figures", operation_id = "figures_show",
    params(Asked), responses((status = 200, body = Figures)))]
pub(super) async fn show(api: Api, Query(asked): Query<Asked>) -> Result<Json<Figures>, Problem> {
    let last_day = jiff::Timestamp::now().as_second().div_euclid(DAY_SECS);
    let query =
        FiguresQuery { org: org_asked(asked.org)?, login: asked.login, last_day, days: asked.days.unwrap_or(DAYS) };
    let days = api.actions.figures(&api.viewer, query).await?;
    Ok(Json(Figures { days: days.into_iter().map(FiguresOfDay::from).collect() }))
}
