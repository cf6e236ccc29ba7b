//! What the machine allows: the same bytes and the same hashes with nothing around them.

pub(crate) mod group_commit;
pub(crate) mod hash;
pub(crate) mod raw_file;
pub(crate) mod stream;
