//! What the fuzz targets do with bytes: plain functions, so that a normal test runs them as well.
//!
//! None of them may panic, or reserve memory out of proportion, whatever the bytes are.

#[path = "targets/codecs.rs"]
pub(crate) mod codecs;
#[path = "targets/doors.rs"]
pub(crate) mod doors;
#[path = "targets/files.rs"]
pub(crate) mod files;
#[path = "targets/gossip.rs"]
pub(crate) mod gossip;
#[path = "targets/http.rs"]
pub(crate) mod http;
#[path = "../tests/it/http/node.rs"]
#[allow(dead_code, clippy::duplicate_mod, reason = "tests of the server use the rest")]
mod http_node;
#[path = "targets/initiator.rs"]
pub(crate) mod initiator;
#[path = "../stemedb-sync/tests/it/model.rs"]
pub(crate) mod model;
#[path = "targets/peeling.rs"]
pub(crate) mod peeling;
#[path = "targets/responder.rs"]
pub(crate) mod responder;
#[path = "targets/script.rs"]
pub(crate) mod script;
#[path = "targets/store_files.rs"]
pub(crate) mod store_files;
#[path = "targets/stub.rs"]
pub(crate) mod stub;
#[path = "targets/tlog.rs"]
pub(crate) mod tlog;
#[path = "targets/wire.rs"]
pub(crate) mod wire;

/// A target.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Its name, which is also that of its corpus.
    pub(crate) name: &'static str,
    /// Feeds it.
    pub(crate) feed: fn(&[u8]),
    /// How many changed inputs a normal test feeds it: for a second or a few.
    pub(crate) runs: u64,
}

/// All targets.
pub(crate) const ALL: [Target; 53] = [
    // Files.
    Target { name: "record", feed: files::record, runs: 50_000 },
    Target { name: "batch", feed: files::batch, runs: 50_000 },
    Target { name: "segment", feed: files::segment, runs: 50_000 },
    Target { name: "stub", feed: stub::stub, runs: 20_000 },
    Target { name: "checkpoint", feed: files::checkpoint, runs: 50_000 },
    Target { name: "delta", feed: files::delta, runs: 10_000 },
    Target { name: "sketch", feed: files::sketch, runs: 50_000 },
    Target { name: "tiles", feed: files::tiles, runs: 10_000 },
    Target { name: "history", feed: files::history, runs: 50_000 },
    Target { name: "identity", feed: files::identity, runs: 50_000 },
    Target { name: "proof_file", feed: files::proof_file, runs: 50_000 },
    Target { name: "base64", feed: files::base64, runs: 50_000 },
    Target { name: "tree", feed: files::tree, runs: 50_000 },
    Target { name: "peers", feed: store_files::peers, runs: 50_000 },
    Target { name: "scrub", feed: store_files::scrub, runs: 50_000 },
    Target { name: "members", feed: store_files::members, runs: 50_000 },
    Target { name: "node_key", feed: store_files::node_key, runs: 50_000 },
    Target { name: "manifest", feed: store_files::manifest, runs: 50_000 },
    // Bytes of a peer, from the inside out.
    Target { name: "varints", feed: codecs::varints, runs: 50_000 },
    Target { name: "prefixes", feed: codecs::prefixes, runs: 50_000 },
    Target { name: "subtrees", feed: codecs::subtrees, runs: 50_000 },
    Target { name: "ids", feed: codecs::ids, runs: 50_000 },
    Target { name: "bodies", feed: codecs::bodies, runs: 50_000 },
    Target { name: "symbols", feed: codecs::symbols, runs: 50_000 },
    Target { name: "peeler", feed: peeling::peeler, runs: 10_000 },
    Target { name: "requests", feed: wire::requests, runs: 20_000 },
    Target { name: "responses", feed: wire::responses, runs: 50_000 },
    Target { name: "store_messages", feed: wire::store_messages, runs: 50_000 },
    Target { name: "store_lists", feed: wire::store_lists, runs: 50_000 },
    Target { name: "node_messages", feed: wire::node_messages, runs: 50_000 },
    Target { name: "initiator", feed: initiator::initiator, runs: 3_000 },
    Target { name: "responder", feed: responder::responder, runs: 3_000 },
    // Bytes of a member, and of anybody who reaches the HTTP port.
    Target { name: "gossip", feed: gossip::gossip, runs: 5_000 },
    Target { name: "http", feed: http::http, runs: 1_000 },
    // What people type or keep in files.
    Target { name: "doors", feed: doors::doors, runs: 50_000 },
    Target { name: "config", feed: store_files::config, runs: 10_000 },
    // Files of the transparent log, and what a witness and a reader of tiles are sent.
    Target { name: "vkey", feed: tlog::vkey, runs: 20_000 },
    Target { name: "key_file", feed: tlog::key_file, runs: 20_000 },
    Target { name: "note", feed: tlog::note, runs: 20_000 },
    Target { name: "checkpoint_note", feed: tlog::checkpoint_note, runs: 20_000 },
    Target { name: "policy", feed: tlog::policy, runs: 20_000 },
    Target { name: "tlog_proof", feed: tlog::tlog_proof, runs: 20_000 },
    Target { name: "absence", feed: tlog::absence, runs: 20_000 },
    Target { name: "fork", feed: tlog::fork, runs: 20_000 },
    Target { name: "fence", feed: tlog::fence, runs: 20_000 },
    Target { name: "heads", feed: tlog::heads, runs: 20_000 },
    Target { name: "attestation", feed: tlog::attestation, runs: 20_000 },
    Target { name: "tile_path", feed: tlog::tile_path, runs: 20_000 },
    Target { name: "tile", feed: tlog::tile, runs: 20_000 },
    Target { name: "entry_bundle", feed: tlog::entry_bundle, runs: 20_000 },
    Target { name: "witness_request", feed: tlog::witness_request, runs: 20_000 },
    Target { name: "witness_response", feed: tlog::witness_response, runs: 20_000 },
    Target { name: "sealed", feed: tlog::sealed, runs: 20_000 },
];
