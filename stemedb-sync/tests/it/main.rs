//! The protocol against stores in memory, peers that lie, and faults of every kind.

mod cluster;
mod codecs;
mod coded_symbols;
mod crafted_symbols;
mod crowds;
mod finishing;
mod garbled;
mod hostile;
mod hostile_requests;
mod hostile_tree;
mod layers;
mod leaving;
mod memory;
mod model;
mod simulation;
mod symbols;
mod symbols_hostile;
