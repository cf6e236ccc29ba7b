//! The binary as its users meet it: every command, flag, exit code and JSON shape.

mod afar;
mod appending;
mod archive;
mod backup;
pub(crate) mod binary;
mod bodies;
mod cluster;
mod config;
mod control;
mod demo;
mod directory;
mod history;
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
mod told;
mod upkeep;
mod usage;
