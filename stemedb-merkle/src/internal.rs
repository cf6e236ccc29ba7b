//! The one way in which a fault of this crate ends.

/// Panics because something is missing that the tree always has: a fault of this crate, named by
/// the file and line of the caller. A value made up in its place would be in a root, or in a proof
/// that somebody relies on.
///
/// The trees have no error for it, since a tree that contradicts itself must not be used again: the
/// store notices that a thread panicked with the tree in its hands and refuses to answer from it.
#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn internal_error(missing: &str) -> ! {
    unreachable!("internal error of the Merkle trees: {missing} is missing")
}
