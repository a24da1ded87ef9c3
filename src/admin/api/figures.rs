//! `/api/v1/figures`

use axum::Json;
use serde::Deserialize;
use utoipa::IntoParams;

use super::messages::org_asked;
use super::shapes::{Figures, FiguresOfDay, Places, RankedLinks, Senders};
use super::{Api, Problem, Query};
use crate::admin::actions::figures::FiguresQuery;
use crate::store::record::TotalsOf;

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

impl Asked {
    fn query(self) -> Result<FiguresQuery, Problem> {
        let last_day = jiff::Timestamp::now().as_second().div_euclid(DAY_SECS);
        let (org, days) = (org_asked(self.org)?, self.days.unwrap_or(DAYS));
        Ok(FiguresQuery { org, login: self.login, last_day, days })
    }
}

/// Opens and clicks by the day.
#[utoipa::path(get, path = "/api/v1/figures", tag = "figures", operation_id = "figures_show",
    params(Asked), responses((status = 200, body = Figures)))]
pub(super) async fn show(api: Api, Query(asked): Query<Asked>) -> Result<Json<Figures>, Problem> {
    let days = api.actions.figures(&api.viewer, asked.query()?).await?;
    Ok(Json(Figures { days: days.into_iter().map(FiguresOfDay::from).collect() }))
}

/// What was counted of each sender, most by people first, at most 100.
#[utoipa::path(get, path = "/api/v1/figures/senders", tag = "figures", operation_id = "figures_senders",
    params(Asked), responses((status = 200, body = Senders)))]
pub(super) async fn senders(api: Api, Query(asked): Query<Asked>) -> Result<Json<Senders>, Problem> {
    Ok(Json(api.actions.totals(&api.viewer, asked.query()?, TotalsOf::Senders).await?.into()))
}

/// The 20 destinations people followed most, over 31 days at most, of mail the caller may read.
#[utoipa::path(get, path = "/api/v1/figures/links", tag = "figures", operation_id = "figures_links",
    params(Asked), responses((status = 200, body = RankedLinks)))]
pub(super) async fn links(api: Api, Query(asked): Query<Asked>) -> Result<Json<RankedLinks>, Problem> {
    Ok(Json(api.actions.ranked_links(&api.viewer, asked.query()?).await?.into()))
}

/// The 20 countries people read in most, over 31 days at most, of mail the caller may read.
#[utoipa::path(get, path = "/api/v1/figures/places", tag = "figures", operation_id = "figures_places",
    params(Asked), responses((status = 200, body = Places)))]
pub(super) async fn places(api: Api, Query(asked): Query<Asked>) -> Result<Json<Places>, Problem> {
    Ok(Json(api.actions.places(&api.viewer, asked.query()?).await?.into()))
}
