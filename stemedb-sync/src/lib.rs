//! The protocol by which two stemedb stores find what they lack of each other.
