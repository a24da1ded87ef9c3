//! `/api/v1/invitations`: links that let somebody in once.

use axum::Json;
use axum::http::StatusCode;

use super::shapes::{self, Invitation, InvitationMade, InvitationPost};
use super::{Api, Body, Path, Problem, parsed};
use crate::admin::Refusal;
use crate::admin::actions::invitations::NewInvitation;
use crate::admin::actions::users::role_named;

/// The links that are open.
#[utoipa::path(get, path = "/api/v1/invitations", tag = "users", operation_id = "invitations_list",
    responses((status = 200, body = Vec<Invitation>)))]
pub(super) async fn list(api: Api) -> Json<Vec<Invitation>> {
    Json(api.actions.invitations(&api.viewer).into_iter().map(Invitation::from).collect())
}

/// Makes a link to an account, for 72 hours and one use; it is shown only here.
#[utoipa::path(post, path = "/api/v1/invitations", tag = "users", operation_id = "invitations_add",
    request_body = InvitationPost, responses((status = 201, body = InvitationMade)))]
pub(super) async fn add(
    api: Api,
    Body(post): Body<InvitationPost>,
) -> Result<(StatusCode, Json<InvitationMade>), Problem> {
    let role = role_named(&post.role)
        .ok_or_else(|| invalid("role", format!("{:?} is none of sender, org-admin, server-admin", post.role)))?;
    let org =
        shapes::org_name(post.org).map_err(|_| invalid("org", "that is no name of an organisation".to_owned()))?;
    let made = api.actions.invite(&api.viewer, NewInvitation { login: post.login, org, role }).await?;
    Ok((StatusCode::CREATED, Json(made.into())))
}

/// Withdraws a link; it stops working at once.
#[utoipa::path(delete, path = "/api/v1/invitations/{id}", tag = "users", operation_id = "invitations_withdraw",
    responses((status = 204)))]
pub(super) async fn withdraw(api: Api, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    api.actions.withdraw_invitation(&api.viewer, parsed("invitation id", &id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a link to a new password, for 72 hours and one use; it is shown only here.
#[utoipa::path(post, path = "/api/v1/users/{login}/password-link", tag = "users", operation_id = "users_password_link",
    responses((status = 201, body = InvitationMade)))]
pub(super) async fn password_link(
    api: Api,
    Path(login): Path<String>,
) -> Result<(StatusCode, Json<InvitationMade>), Problem> {
    Ok((StatusCode::CREATED, Json(api.actions.password_link(&api.viewer, &login).await?.into())))
}

fn invalid(field: &'static str, detail: String) -> Problem {
    Refusal::Invalid { field, detail }.into()
}
