//! Whether the node is well, for programs.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use super::{HttpState, guard::Host, refusal::Refusal};
use crate::{Node, Status, metrics::CONTENT_TYPE, status::Problem};

/// 200 as long as the process answers and could append: a restart would help if it could not.
///
/// Waits for nothing, so that a disk that hangs is not taken for a process that does.
pub(super) async fn live(State(state): State<Arc<HttpState>>) -> Response {
    // Where the directory is gone a restart makes it worse: what it held is still to be put back.
    let failure = state.node.store().failure();
    if failure.is_some_and(|failure| failure.displaced().is_none()) {
        let text = "a write failed, and nothing is appended until the node is started again\n";
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    }
    "ok\n".into_response()
}

/// 200 if the node is ready to serve clients, else why it is not, a problem a line. Then whether it
/// has joined a cluster, where there is an address to join by; clients are served all the same.
///
/// Where the host is unknown, which may be that of a page from elsewhere, a problem is its code
/// only.
pub(super) async fn ready(
    State(state): State<Arc<HttpState>>,
    Extension(host): Extension<Host>,
) -> Result<Response, Refusal> {
    let (problems, joins) =
        state.probe(|node| (node.shared.problems(), node.shared.joins())).await?;
    let line = |Problem { code, text }: &Problem| match host {
        Host::Known => format!("{code}: {text}\n"),
        Host::Unknown => format!("{code}\n"),
    };
    let mut lines: Vec<String> = problems.iter().map(line).collect();
    if problems.is_empty() {
        lines.push("ok\n".to_owned());
    }
    if let Some(joined) = joins.joined {
        lines.push(format!("joined: {}\n", if joined { "yes" } else { "no" }));
        for (address, error) in joins.unreached.iter().filter(|_| matches!(host, Host::Known)) {
            lines.push(format!("cannot join at {address}: {error}\n"));
        }
    }
    let code = match problems.as_slice() {
        [] => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((code, lines.concat()).into_response())
}

/// The metrics.
pub(super) async fn metrics(State(state): State<Arc<HttpState>>) -> Result<Response, Refusal> {
    let memory = state.memory().await?;
    let text = state.read(move |node| {
        let (status, access) = (node.status(), node.shared.access_gauges());
        node.shared.metrics.text(&status, node.store(), memory, access)
    });
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text.await?).into_response())
}

/// Everything that the node shows of itself.
pub(super) async fn status(State(state): State<Arc<HttpState>>) -> Result<Json<Status>, Refusal> {
    state.read(Node::status).await.map(Json)
}
