//! The one place that calls zstd.

#[cfg(feature = "zstd")]
pub(super) use built_in::{IS_BUILT_IN, inflate};
#[cfg(not(feature = "zstd"))]
pub(super) use left_out::{IS_BUILT_IN, inflate};

#[cfg(feature = "zstd")]
mod built_in {
    use std::{cell::RefCell, io};

    use zstd::bulk::Decompressor;

    /// Whether this build reads zstd.
    pub(crate) const IS_BUILT_IN: bool = true;

    thread_local! {
        /// Its tables are larger than a block: they are not made for each.
        static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    }

    /// The bytes of a zstd frame, which are `len`. `None` if it is none, or has more or fewer: no
    /// more than that are ever written.
    pub(crate) fn inflate(frame: &[u8], len: usize) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::with_capacity(len);
        let inflated = DECOMPRESSOR.with_borrow_mut(|decompressor| {
            let decompressor = match decompressor {
                Some(decompressor) => decompressor,
                None => decompressor.insert(Decompressor::new()?),
            };
            Ok::<_, io::Error>(decompressor.decompress_to_buffer(frame, &mut bytes).is_ok())
        })?;
        Ok((inflated && bytes.len() == len).then_some(bytes))
    }
}

#[cfg(not(feature = "zstd"))]
mod left_out {
    use std::io;

    /// Whether this build reads zstd.
    pub(crate) const IS_BUILT_IN: bool = false;

    /// Nothing: this build reads no zstd.
    pub(crate) fn inflate(_: &[u8], _: usize) -> io::Result<Option<Vec<u8>>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, super::super::CannotDecompress))
    }
}
