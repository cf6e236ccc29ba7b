//! What the threads of a store could not do, for those who look after it.

use std::error::Error;

use tracing::{info, warn};

use super::{Store, lock};
use crate::error::with_causes;

/// What the threads of a store could not do when they last tried: nothing, if all is well. Appends
/// and reads are not affected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Upkeep {
    /// Why no restart checkpoint was written. Until one is, opening takes longer.
    pub checkpoint: Option<String>,
    /// Why the mark of how far the log is durable was not written to `IDENTITY`. Until it is, a log
    /// that loses its end is noticed only where the log itself tells.
    pub mark: Option<String>,
    /// Why no segment was compressed. It takes more room until one is.
    pub compression: Option<String>,
}

impl Upkeep {
    pub(super) fn checkpoint_failed(&mut self, error: Option<&dyn Error>) {
        let error = error.map(with_causes);
        if self.checkpoint != error {
            if let Some(error) = &error {
                warn!(error, "no restart checkpoint was written: it is tried again");
            } else {
                info!("a restart checkpoint was written again");
            }
        }
        self.checkpoint = error;
    }

    pub(super) fn mark_failed<E: Error + 'static>(&mut self, error: Option<&E>) {
        let error = error.map(|error| with_causes(error));
        if self.mark != error {
            if let Some(error) = &error {
                warn!(error, "the mark of the log's end was not written: it is tried again");
            } else {
                info!("the mark of the log's end was written again");
            }
        }
        self.mark = error;
    }

    #[cfg(feature = "zstd")]
    pub(super) fn compression_failed<E: Error + 'static>(&mut self, error: Option<&E>) {
        let error = error.map(|error| with_causes(error));
        if self.compression != error {
            if let Some(error) = &error {
                warn!(error, "a segment was not compressed: it is tried again");
            } else {
                info!("segments are compressed again");
            }
        }
        self.compression = error;
    }
}

impl Store {
    /// What the threads of the store could not do when they last tried. O(1).
    pub fn upkeep(&self) -> Upkeep {
        lock(&self.shared.upkeep).clone()
    }
}
