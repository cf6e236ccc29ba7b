//! The one error of faults of the program itself.

use std::panic::Location;

/// Error of a value that the program always has and does not find: a fault of the program, named by
/// file and line. A value made up in its place would be shown or written as if it were true.
///
/// Where debug assertions are on, as in tests, it panics instead, so that nothing swallows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("internal error at {location}: {missing} is missing; please report it")]
pub struct InternalError {
    missing: &'static str,
    location: &'static Location<'static>,
}

impl InternalError {
    /// The error of the caller, who does not find `missing`.
    #[cold]
    #[track_caller]
    pub fn new(missing: &'static str) -> Self {
        let error = Self { missing, location: Location::caller() };
        if cfg!(debug_assertions) {
            unreachable!("{error}");
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_internal_error_names_file_and_line_and_fails_tests() {
        let line = line!() + 1;
        let made = std::panic::catch_unwind(|| InternalError::new("the last entry"));
        let place = format!("internal error at {}:{line}:", file!());
        let said = match made {
            Ok(error) if !cfg!(debug_assertions) => error.to_string(),
            Ok(error) => panic!("{error} is returned where it is to fail tests"),
            Err(panic) => panic.downcast_ref::<String>().unwrap().clone(),
        };
        assert!(said.contains(&place) && said.contains("the last entry is missing"), "{said}");
    }
}
