//! stemedb: the log that two machines can compare.
