//! Tests of the public interface of the transparent log, in one executable.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "these are tests")]

mod properties;
mod rules;
mod vectors;
