//! The binary as its users meet it: every command, flag, exit code and JSON shape.

mod appending;
mod archive;
mod backup;
pub(crate) mod binary;
mod certificates;
mod cluster;
mod config;
mod control;
mod demo;
mod directory;
mod ids;
mod killed;
mod network;
mod node;
mod partition;
mod proofs;
mod reading;
mod repairing;
mod scrubbing;
mod secrets;
mod serving;
mod stopping;
mod upkeep;
mod usage;
