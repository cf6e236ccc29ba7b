//! Answers that refuse a request.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use stemedb_rpc::{Failure, Reason};

/// Refusal of a request: a status code, and a sentence for people.
#[derive(Debug)]
pub(super) struct Refusal {
    code: StatusCode,
    text: String,
}

impl Refusal {
    pub(super) fn new(code: StatusCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub(super) fn malformed(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    pub(super) fn busy() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the node is too busy now; try again later")
    }

    pub(super) fn slow() -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, "the answer takes longer than it may")
    }

    pub(super) fn failed() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the node could not answer; see its log")
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "nothing can be changed here: GET and HEAD only")
    }
}

#[derive(Serialize)]
struct Fields {
    error: String,
}

/// There is nothing at this path.
pub(super) async fn not_found() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "there is nothing here")
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        let (code, text) = match failure.reason() {
            Reason::NotFound => (StatusCode::NOT_FOUND, "the store does not hold it".to_owned()),
            Reason::Malformed | Reason::Ambiguous => (StatusCode::BAD_REQUEST, failure.to_string()),
            Reason::SecretMissing => (
                StatusCode::FORBIDDEN,
                "the store has a secret, and the node was not given it".to_owned(),
            ),
            // Particulars may be paths.
            Reason::Damaged => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "what was asked for is damaged; check and repair the store".to_owned(),
            ),
            _ => return Self::failed(),
        };
        Self { code, text }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { code, text } = self;
        let mut response = (code, Json(Fields { error: text })).into_response();
        let headers = response.headers_mut();
        if code == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        if code == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}
