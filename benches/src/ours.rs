//! This product's side of every measure.

pub(crate) mod growth;
pub(crate) mod history;
pub(crate) mod large;
pub(crate) mod served;
pub(crate) mod session;
pub(crate) mod set_tree;
pub(crate) mod side;
pub(crate) mod store;
