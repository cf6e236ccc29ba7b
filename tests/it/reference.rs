//! What results are held against: slow and obvious, or made from a seed.

#[path = "../../stemedb-store/tests/it/reference/random.rs"]
pub(crate) mod random;
#[path = "../../stemedb-merkle/tests/reference/set_tree.rs"]
#[allow(dead_code, reason = "each crate's tests use a part")]
pub(crate) mod set_tree;
#[path = "../../stemedb-store/tests/it/reference/world.rs"]
pub(crate) mod world;
