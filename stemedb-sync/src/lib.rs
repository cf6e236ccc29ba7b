//! The protocol by which two stemedb stores will find what they lack of each other.
//!
//! **Empty for now.** This crate holds its place in the workspace until the protocol lands: a
//! session as a state machine without I/O, a scheduler and budgets. Sockets and files stay out of
//! it. To compare two stores that are both at hand, take [`stemedb_merkle::DiffResult`].

pub mod symbols;
