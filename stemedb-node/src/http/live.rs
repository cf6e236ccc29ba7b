//! The log as it grows, as server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Query, State},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use serde::Deserialize;
use tokio::{sync::mpsc, time::sleep};
use tokio_stream::wrappers::ReceiverStream;

use super::{HttpState, api, places::Caller, refusal::Refusal};

/// Events are no closer together: what comes in between is in the next.
const REST: Duration = Duration::from_millis(250);

/// Entries that an event has at most, the newest: nobody reads more.
const ENTRIES_MAX: u64 = 25;

/// A comment is sent this often, so that both sides notice if the other is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// The first entry that is wanted; the next one if it is absent.
    from: Option<u64>,
}

/// Follows the log. Each event has the newest entries since the last one, and how long the log is.
pub(super) async fn live(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(Asked { from }) = asked.map_err(|error| Refusal::malformed(error.body_text()))?;
    if caller.is_single() {
        // There are too many connections to keep this one.
        return Err(Refusal::busy());
    }
    let permit = Arc::clone(&state.listeners).try_acquire_owned().map_err(|_| Refusal::busy())?;
    let (sender, receiver) = mpsc::channel(1);
    // A page that was open while the store was put back to an earlier state asks for what there is
    // no longer.
    let end = state.node.store().log_size().get();
    let from = from.map_or(end, |from| from.min(end));
    let running = caller.begin();
    tokio::spawn(async move {
        let _held = (permit, running);
        tokio::select! {
            () = feed(&state, from, &sender) => {}
            () = sender.closed() => {}
            () = state.stopping.cancelled() => {}
        }
    });
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(keep_alive).into_response())
}

async fn feed(state: &HttpState, mut next: u64, sender: &mpsc::Sender<Result<Event, Infallible>>) {
    let mut growth = state.node.store().growth();
    while growth.wait_for(|size| size.get() > next).await.is_ok() {
        let read = state.read(move |node| {
            let store = node.store();
            let end = store.log_size().get();
            let from = next.max(end.saturating_sub(ENTRIES_MAX));
            (end, api::entries(store, from, end))
        });
        // A node that is busy is asked again.
        if let Ok((end, entries)) = read.await {
            // Numbers and strings always become JSON.
            let Ok(event) = Event::default().json_data(entries) else { return };
            if sender.send(Ok(event)).await.is_err() {
                return;
            }
            next = end;
        }
        sleep(REST).await;
    }
}
