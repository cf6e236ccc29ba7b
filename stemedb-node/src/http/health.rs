//! Whether the node is well, for programs.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{Site, View, guard::Host, refusal::Refusal};
use crate::{Status, metrics::CONTENT_TYPE, status::Problem};

/// 200 as long as the process answers and could append: a restart would help if it could not.
///
/// Waits for nothing, so that a disk that hangs is not taken for a process that does.
pub(super) async fn live<V: View>(State(site): State<Arc<Site<V>>>) -> Response {
    // Where the directory is gone a restart makes it worse: what it held is still to be put back.
    let failure = site.view.store().failure();
    if failure.is_some_and(|failure| failure.displaced().is_none()) {
        let text = "a write failed, and nothing is appended until the node is started again\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    "ok\n".into_response()
}

/// 200 if the node is ready to serve clients, else why it is not, a problem a line.
///
/// Where the host is unknown, which may be that of a page from elsewhere, a problem is its code
/// only.
pub(super) async fn ready<V: View>(
    State(site): State<Arc<Site<V>>>,
    Extension(host): Extension<Host>,
) -> Result<Response, Refusal> {
    let problems = site.probe(V::problems).await?;
    if problems.is_empty() {
        return Ok("ok\n".into_response());
    }
    let line = |Problem { code, text }: &Problem| match host {
        Host::Known => format!("{code}: {text}\n"),
        Host::Unknown => format!("{code}\n"),
    };
    let lines: Vec<String> = problems.iter().map(line).collect();
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
