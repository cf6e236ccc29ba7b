//! What results are held against: slow and obvious, or made from a seed.

pub(crate) mod ledger;
pub(crate) mod random;
#[path = "../../../stemedb-merkle/tests/reference/set_tree.rs"]
#[allow(dead_code, reason = "each crate's tests use a part")]
pub(crate) mod set_tree;
pub(crate) mod world;
