//! This product's side of every measure.

pub(crate) mod history;
#[cfg(feature = "store")]
pub(crate) mod large;
pub(crate) mod set_tree;
#[cfg(feature = "store")]
pub(crate) mod store;
