//! Whether the node is well, for programs.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Site, View, refusal::Refusal};
use crate::node::{Status, metrics::CONTENT_TYPE};

/// 200 as long as the process answers and could append: a restart would help if it could not.
///
/// Waits for nothing, so that a disk that hangs is not taken for a process that does.
pub(super) async fn live<V: View>(State(site): State<Arc<Site<V>>>) -> Response {
    if site.view.store().writer_failed() {
        let text = "a write failed, and nothing is appended until the node is started again\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    "ok\n".into_response()
}

/// 200 if the node is ready to serve clients, else why it is not, a problem a line.
pub(super) async fn ready<V: View>(State(site): State<Arc<Site<V>>>) -> Result<Response, Refusal> {
    let Status { not_ready, .. } = site.read(V::status).await?;
    if not_ready.is_empty() {
        return Ok("ok\n".into_response());
    }
    let lines: Vec<String> =
        not_ready.iter().map(|problem| format!("{}: {}\n", problem.code, problem.text)).collect();
    Ok((StatusCode::SERVICE_UNAVAILABLE, lines.concat()).into_response())
}

/// The metrics.
pub(super) async fn metrics<V: View>(
    State(site): State<Arc<Site<V>>>,
) -> Result<Response, Refusal> {
    let memory = site.memory().await?;
    let text = site.read(move |view| view.metrics().text(&view.status(), view.store(), memory));
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text.await?).into_response())
}

/// Everything that the node shows of itself.
pub(super) async fn status<V: View>(
    State(site): State<Arc<Site<V>>>,
) -> Result<Json<Status>, Refusal> {
    site.read(V::status).await.map(Json)
}
