//! The one way in which a fault of this crate ends.

/// Panics because something is missing that must be there: a fault of this crate, named by the file
/// and line of the caller. The task that drives the session or answers the call ends with it, and
/// nothing that was made up in its place is sent or compared.
#[cold]
#[inline(never)]
#[track_caller]
pub(crate) fn internal_error(missing: &str) -> ! {
    unreachable!("internal error of a session: {missing} is missing")
}
