//! Parts of bodies, compressed where that helps.

use zstd::bulk::{Compressor, Decompressor};

use crate::{Malformed, limits::PART_LEN_MAX};

/// The level of zstd: the fastest ordinary one, as parts go out as fast as a network takes them.
const LEVEL: i32 = 1;
/// Parts shorter than this stay as they are.
const LEN_MIN: usize = 256;
/// Of longer parts so much is tried first: it tells what the rest is like, at little cost.
const SAMPLE_LEN: usize = 16 << 10;
/// After a part that did not get smaller by an eighth, so many others are not tried.
const PARTS_SKIPPED: u32 = 15;

/// Compresses the parts of one stream, for as long as that helps.
#[derive(Default)]
pub(crate) struct PartCompressor {
    compressor: Option<Compressor<'static>>,
    skip: u32,
}

/// A part as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The bytes, or a zstd frame of them.
    pub(crate) bytes: Vec<u8>,
    /// How many bytes are in the frame; 0 if it is none.
    pub(crate) len: u32,
}

impl PartCompressor {
    /// The part, compressed or not. What can't be compressed goes as it is.
    pub(crate) fn compress(&mut self, bytes: Vec<u8>) -> Part {
        if !self.would_try(bytes.len()) {
            self.skip = self.skip.saturating_sub(1);
            return Part { bytes, len: 0 };
        }
        let sample = bytes.get(..SAMPLE_LEN).filter(|sample| sample.len() < bytes.len());
        let promises = sample.is_none_or(|sample| self.frame(sample).is_some());
        let frame = if promises { self.frame(&bytes) } else { None };
        if let Some((frame, len)) = frame.zip(u32::try_from(bytes.len()).ok()) {
            return Part { bytes: frame, len };
        }
        self.skip = PARTS_SKIPPED;
        Part { bytes, len: 0 }
    }

    /// Whether a part of this length would be tried, which takes a while.
    pub(crate) fn would_try(&self, len: usize) -> bool {
        self.skip == 0 && (LEN_MIN..=PART_LEN_MAX).contains(&len)
    }

    /// A frame of bytes, if it is smaller by an eighth or more.
    fn frame(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let compressor = match &mut self.compressor {
            Some(compressor) => compressor,
            none => none.insert(Compressor::new(LEVEL).ok()?),
        };
        let frame = compressor.compress(bytes).ok()?;
        (frame.len() < bytes.len() - bytes.len() / 8).then_some(frame)
    }
}

/// A frame that does not expand to what was said of it. One that was changed on its way looks the
/// same, as its MAC is that of what is in it.
pub(crate) const NO_FRAME: Malformed =
    Malformed::new("bytes", "must be a zstd frame of `len` bytes");

impl Part {
    /// The bytes of a part. Sets no more memory aside than the part may have.
    pub(crate) fn expand(self) -> Result<Vec<u8>, Malformed> {
        let Self { bytes, len } = self;
        let len = len as usize;
        if len == 0 {
            return Ok(bytes);
        }
        if len > PART_LEN_MAX {
            return Err(Malformed::new("len", "must be at most 2 MiB"));
        }
        let expanded = Decompressor::new().and_then(|mut zstd| zstd.decompress(&bytes, len));
        match expanded {
            Ok(expanded) if expanded.len() == len => Ok(expanded),
            _ => Err(NO_FRAME),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that don't compress: a stream of BLAKE3.
    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[test]
    fn parts_come_back_as_they_were() {
        let mut compressor = PartCompressor::default();
        for bytes in [vec![], vec![7; 255], vec![7; 256], vec![7; PART_LEN_MAX], noise(10_000)] {
            let part = compressor.compress(bytes.clone());
            assert_eq!(part.clone().expand().unwrap(), bytes);
            assert!(part.bytes.len() <= bytes.len());
        }
    }

    #[test]
    fn what_does_not_compress_is_not_tried_again_at_once() {
        let mut compressor = PartCompressor::default();
        assert_eq!(compressor.compress(noise(10_000)).len, 0);
        for _ in 0..PARTS_SKIPPED {
            assert_eq!(compressor.compress(vec![7; 10_000]).len, 0);
        }
        let part = compressor.compress(vec![7; 10_000]);
        assert_eq!(part.len, 10_000);
        assert!(part.bytes.len() < 100);
    }

    #[test]
    fn bombs_and_rubbish_are_refused() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
        assert!(bomb.len() < 10_000);
        for len in [1, 1 << 20, (2 << 20) + 1, u32::MAX] {
            assert!(Part { bytes: bomb.clone(), len }.expand().is_err(), "{len}");
        }
        let part = PartCompressor::default().compress(vec![7; 1000]);
        for len in [1, 999, 1001] {
            assert!(Part { len, ..part.clone() }.expand().is_err(), "{len}");
        }
        let torn = part.bytes[..part.bytes.len() - 1].to_vec();
        for bytes in [vec![], vec![0; 100], noise(100), torn] {
            assert!(Part { bytes, len: 1000 }.expand().is_err());
        }
    }
}
