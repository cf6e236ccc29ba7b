//! Witnesses: what a log sends them, what they decide, and what they answer (C2SP tlog-witness).
//!
//! A witness cosigns heads of a log that are consistent with one another, and so makes a log show
//! everybody the same. The server reads a [`WitnessRequest`], looks up the log's keys and what it
//! has cosigned last, and [`decide`]s; the client is a [`WitnessClient`].

mod client;
mod decision;
mod request;
mod response;
mod stored;

pub use client::{
    Alarm, ClientStep, RETRIES_MAX, RETRY_AFTER_MS_MIN, WitnessClient, WitnessFailure,
};
pub use decision::{Accepted, Conflict, Decision, decide};
pub use request::WitnessRequest;
pub use response::{SIZE_CONTENT_TYPE, TEXT_CONTENT_TYPE, WitnessResponse};
pub use stored::CosignedHead;
