//! Position of a byte in the log.

use std::{
    fmt,
    ops::{Add, AddAssign, Sub},
};

/// Position of a byte in the log, counted over all its segments. That of a record is the position
/// of its first byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

impl Position {
    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// So many bytes further on; `None` if it would not fit.
    pub const fn checked_add(self, len: u64) -> Option<Self> {
        match self.0.checked_add(len) {
            Some(position) => Some(Self(position)),
            None => None,
        }
    }
}

impl From<u64> for Position {
    fn from(position: u64) -> Self {
        Self(position)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Compares with the number itself.
impl PartialEq<u64> for Position {
    fn eq(&self, position: &u64) -> bool {
        self.0 == *position
    }
}

/// So many bytes further on.
impl Add<u64> for Position {
    type Output = Self;

    fn add(self, len: u64) -> Self {
        Self(self.0 + len)
    }
}

impl AddAssign<u64> for Position {
    fn add_assign(&mut self, len: u64) {
        self.0 += len;
    }
}

/// Number of bytes from one to the other.
impl Sub for Position {
    type Output = u64;

    fn sub(self, earlier: Self) -> u64 {
        self.0 - earlier.0
    }
}
