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
        let expected = format!(
            "internal error at {}:{line}:50: the last entry is missing; please report it",
            file!()
        );
        match made {
            Ok(error) => assert_eq!(error.to_string(), expected),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().unwrap();
                assert!(said.ends_with(&expected), "{said}");
            }
        }
        assert_eq!(made_is_panic(), cfg!(debug_assertions));
    }

    fn made_is_panic() -> bool {
        std::panic::catch_unwind(|| InternalError::new("nothing")).is_err()
    }
}
