//! A compressed segment that was written once: each later build with the feature reads it, each one
//! without says what it is.

use std::path::PathBuf;

use super::{SEGMENT, Sample};

fn frozen() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/compressed-v2.log")
}

/// The log of the frozen segment, with that in its place.
fn sample() -> Sample {
    let mut sample = Sample::small();
    sample.close();
    sample.disk.put(SEGMENT, &std::fs::read(frozen()).unwrap()).unwrap();
    sample
}

#[cfg(feature = "zstd")]
#[test]
fn is_read_as_it_was_written() {
    let plain = Sample::small();
    let plain = plain.disk.contents(SEGMENT).unwrap();
    if let Some(dir) = std::env::var_os("STEMEDB_FREEZE") {
        let mut sample = Sample::small();
        super::swap::compress_all(&mut sample);
        let bytes = sample.disk.contents(SEGMENT).unwrap();
        std::fs::write(PathBuf::from(dir).join("compressed.log"), bytes).unwrap();
    }
    let mut sample = sample();
    sample.harness.open();
    sample.harness.check_reads();
    let reader = sample.harness.log().reader();
    assert_eq!(reader.read_sealed(&reader.sealed_segments()[0]).unwrap(), plain);
}

#[cfg(not(feature = "zstd"))]
mod without {
    use std::sync::Arc;

    use stemedb_wal::sealed::CannotDecompress;
    use stemedb_wal::{disk::Disk, error::OpenError, repair::RepairOptions};

    use super::{
        super::{SEGMENT, hash, identity, options},
        sample,
    };
    use crate::history::{open, repair};

    /// It is no damage, and nothing is repaired.
    #[test]
    fn is_named_by_a_build_that_cannot_read_it() {
        let sample = sample();
        let before = sample.disk.contents(SEGMENT).unwrap();
        let shared: Arc<dyn Disk> = Arc::new(sample.disk.clone());
        let options = options(2000);
        let opened = open(&shared, &sample.harness.origin, &options, None);
        let error = opened.err().unwrap();
        let expected = CannotDecompress.to_string();
        assert!(matches!(error, OpenError::Disk(_)), "{error}");
        assert!(told(&error).contains(&expected) && told(&error).contains(SEGMENT), "{error}");
        for accept_loss in [false, true] {
            let repaired = repair(
                &shared,
                &mut identity(),
                &RepairOptions::new(&options).hash(Some(&hash)).accept_loss(accept_loss),
            );
            let error = repaired.unwrap_err();
            assert!(told(&error).contains(&expected), "{error}");
        }
        assert_eq!(sample.disk.contents(SEGMENT).unwrap(), before);
        assert_eq!(sample.segments().len(), 2);
    }

    /// An error with its causes.
    fn told(error: &dyn std::error::Error) -> String {
        let causes = std::iter::successors(Some(error), |error| error.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }
}
