//! The measures: one for each thing that the product asks of itself.

use std::fmt;

use crate::Failure;
use crate::contest::Contest;
use crate::setting::Setting;

mod bulk_append;
mod checkpoint;
mod disk_bytes;
mod durable_append;
pub(crate) mod growth;
mod history;
mod memory;
mod proofs;
mod random_reads;
mod reopening;
mod set_tree;
mod snapshot;
mod sync_beside;
mod sync_bodies;
mod sync_change;
pub(crate) mod sync_find;
mod sync_layers;
mod sync_memory;

/// A measure, by name.
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) prepare: fn(&Setting) -> Result<Contest, Failure>,
}

impl fmt::Debug for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measure").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All of them, those that need the large store last.
pub(crate) const ALL: &[Measure] = &[
    Measure {
        name: "durable-append",
        about: "Durable append: 64 concurrent tasks, 256 B, each waits for its own",
        prepare: durable_append::single,
    },
    Measure {
        name: "durable-batch",
        about: "Durable batches of 64 records, 256 B, one after the other",
        prepare: durable_append::batches,
    },
    Measure {
        name: "bulk-append",
        about: "Bulk append of 1 M records, 256 B, into an empty store, one sync at the end",
        prepare: bulk_append::into_empty,
    },
    Measure {
        name: "hashes",
        about: "The hashes below everything: a parent of the set tree, a node of the history",
        prepare: set_tree::hashes,
    },
    Measure {
        name: "set-insert",
        about: "Set tree: one insert with the root current, 1 M ids",
        prepare: set_tree::inserts,
    },
    Measure {
        name: "set-batch",
        about: "Set tree: inserts in batches of 1,000, 1 M ids; time an id",
        prepare: set_tree::batches,
    },
    Measure {
        name: "set-build",
        about: "Set tree: built from 1 M ids, with its root",
        prepare: set_tree::builds,
    },
    Measure { name: "memory", about: "Set tree: bytes of heap an id", prepare: memory::prepare },
    Measure {
        name: "proofs",
        about: "Membership proofs at 1 M ids: prove, verify, size",
        prepare: proofs::prepare,
    },
    Measure {
        name: "history",
        about: "History tree at 1 M entries: append, inclusion proof",
        prepare: history::prepare,
    },
    Measure {
        name: "snapshot",
        about: "Snapshots of a set tree of 1 M ids, and inserts meanwhile",
        prepare: snapshot::prepare,
    },
    Measure {
        name: "sync-0",
        about: "Two stores of 1 M ids that do not differ",
        prepare: sync_find::nothing,
    },
    Measure {
        name: "sync-2",
        about: "Two stores of 1 M ids that differ by 2: who lacks what",
        prepare: sync_find::two,
    },
    Measure {
        name: "sync-100",
        about: "Two stores of 1 M ids that differ by 100: who lacks what",
        prepare: sync_find::hundred,
    },
    Measure {
        name: "sync-10000",
        about: "Two stores of 1 M ids that differ by 10,000: who lacks what",
        prepare: sync_find::ten_thousand,
    },
    Measure {
        name: "sync-100000",
        about: "Two stores of 1 M ids that differ by 100,000: who lacks what",
        prepare: sync_find::hundred_thousand,
    },
    Measure {
        name: "sync-cursor",
        about: "A store of 1 M ids that fell behind its peer by 10,000",
        prepare: sync_layers::cursor,
    },
    Measure {
        name: "sync-descent",
        about: "Two stores of 1 M ids that differ: descent of the set tree alone",
        prepare: sync_layers::descent,
    },
    Measure {
        name: "sync-memory",
        about: "Two stores of 10 M ids that differ: heap that a session takes on either side",
        prepare: sync_memory::prepare,
    },
    Measure {
        name: "sync-change",
        about: "Vectors of 4 KB of which one in a hundred changed: what is sent",
        prepare: sync_change::prepare,
    },
    Measure {
        name: "sync-bodies-256",
        about: "Bodies of 256 B over loopback, durable at the receiver",
        prepare: sync_bodies::short,
    },
    Measure {
        name: "sync-bodies-4096",
        about: "Bodies of 4 KB over loopback, durable at the receiver",
        prepare: sync_bodies::long,
    },
    Measure {
        name: "sync-appends",
        about: "Appends to a store of 1 M while a session of 100,000 differences runs on it",
        prepare: sync_beside::appends,
    },
    Measure {
        name: "sync-latency",
        about: "Finding 100 differences over a link of 50 ms each way",
        prepare: sync_beside::far_away,
    },
    Measure {
        name: "disk-bytes",
        about: "Bytes on disk for a 256 B record",
        prepare: disk_bytes::prepare,
    },
    Measure {
        name: "reopening",
        about: "Reopening 10 M records of 256 B without a checkpoint, page cache warm",
        prepare: reopening::without_checkpoint,
    },
    Measure {
        name: "opening",
        about: "Opening a store with a checkpoint and 1,000 records behind it",
        prepare: reopening::with_checkpoint,
    },
    Measure {
        name: "random-reads",
        about: "Verified random reads out of 10 M records, page cache warm, one thread",
        prepare: random_reads::prepare,
    },
    Measure {
        name: "random-reads-32",
        about: "Verified random reads out of 10 M records of 32 B, page cache warm, one thread",
        prepare: random_reads::short,
    },
    Measure {
        name: "bulk-append-large",
        about: "Bulk append of 1 M records, 256 B, into a store of 10 M",
        prepare: bulk_append::into_large,
    },
    Measure {
        name: "checkpoint-appends",
        about: "Appends into a store of 10 M, with and without checkpoints being written",
        prepare: checkpoint::prepare,
    },
    Measure {
        name: growth::NAME,
        about: "Cost as a store grows: bodies of 32 B, empty, 1 M, 10 M and 100 M of them",
        prepare: growth::prepare,
    },
];
