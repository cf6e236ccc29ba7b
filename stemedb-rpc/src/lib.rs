//! gRPC for stemedb: the only crate that knows the wire.
//!
//! `proto/stemedb/v1/` has three services: *store*, which appends, gets, proves and watches from
//! afar, *replication*, the messages of [`stemedb_sync`] one to one, and *node*, for gossip and for
//! operators. Here are their [`server`], which works on whatever implements [`Backend`],
//! [`SessionHost`] and [`Node`], and their [`client`]. Decisions
//! are made elsewhere; limits are kept here.

pub mod backend;
mod blocking;
mod check;
pub mod client;
mod compress;
mod convert;
pub mod limits;
pub mod node;
pub mod proto;
pub mod reason;
pub mod replica;
pub mod responder_service;
pub mod server;
pub mod store;
pub mod sync;
pub mod tls;
pub mod token;
pub mod wire_len;

pub use backend::Backend;
pub use client::{CallError, Client, ClientOptions, PeerAddress};
pub use convert::Malformed;
pub use limits::ServerLimits;
pub use node::{Control, Node};
pub use reason::Reason;
pub use replica::Replica;
pub use responder_service::{ResponderService, SessionHost};
pub use server::{Server, ServerOptions, serve_control};
pub use store::{PeerStore, Replicate, SyncError, SyncOptions};
pub use tls::{ClientIdentity, ClientTls, ServerTls};
pub use token::{Token, Tokens};
