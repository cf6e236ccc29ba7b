//! Finding ids in a delta, whose only order is that of the ids themselves.

use super::{arrays::DeltaArrays, error::MappedSetError};
use crate::{
    id::Hash,
    internal::internal_error,
    set::bits::{first_id, key},
};

/// Number of ids that are compared one after the other.
const SCAN_LEN_MAX: usize = 8;

/// A place in a delta below which all ids are lower than those looked up next.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct DeltaCursor {
    place: usize,
    /// The front of an id that is not above the one at the place.
    key: u64,
}

impl DeltaCursor {
    /// Advances to the first id that is not below `id`, or to the end, and returns its place.
    ///
    /// Probes a standard deviation to either side of the place where the id is expected if all are
    /// spread evenly: O(log log d) for the hashes that ids are, d being how far it goes, and O(log
    /// d) for any others.
    pub(crate) fn seek(
        &mut self,
        delta: &dyn DeltaArrays,
        id: &Hash,
    ) -> Result<usize, MappedSetError> {
        let wanted = key(id);
        let mut low = Self { place: self.place, key: self.key };
        let mut high = Self { place: delta.len(), key: u64::MAX };
        let probe = |place: usize, low: &mut Self, high: &mut Self| {
            let found = delta.id(place)?;
            if found < *id {
                *low = Self { place: place + 1, key: key(&found) };
            } else {
                *high = Self { place, key: key(&found) };
            }
            Ok::<_, MappedSetError>(())
        };
        if low.place > 0 && low.place < high.place {
            // The one that stopped the last search often is the next one's as well.
            let at = low.place;
            probe(at, &mut low, &mut high)?;
        }
        loop {
            let len = high.place - low.place;
            if len <= SCAN_LEN_MAX {
                break;
            }
            let expected = low.place + expected_below(wanted, low.key, high.key, len);
            let deviation = (expected - low.place).min(high.place - expected).isqrt() + 2;
            let near = expected.saturating_sub(deviation).max(low.place);
            let far = (expected + deviation).min(high.place - 1);
            probe(near, &mut low, &mut high)?;
            if far < high.place && far >= low.place {
                probe(far, &mut low, &mut high)?;
            }
            if high.place - low.place > len / 2 {
                // They are not spread evenly, or not here.
                let middle = low.place + (high.place - low.place) / 2;
                probe(middle, &mut low, &mut high)?;
            }
        }
        if low.place < high.place {
            let mut ids = [[0; 32]; SCAN_LEN_MAX];
            let (ids, _) = ids.split_at_mut(high.place - low.place);
            delta.ids(low.place, ids)?;
            for found in ids.iter().take_while(|found| *found < id) {
                low = Self { place: low.place + 1, key: key(found) };
            }
        }
        *self = low;
        Ok(low.place)
    }

    /// Advances to the first id that begins with `prefix` of `depth` bits, and returns the places
    /// of all that do.
    pub(crate) fn seek_prefix(
        &mut self,
        delta: &dyn DeltaArrays,
        depth: usize,
        prefix: u64,
    ) -> Result<core::ops::Range<usize>, MappedSetError> {
        let start = self.seek(delta, &first_id(prefix, depth))?;
        let end = if prefix + 1 == 1 << depth {
            delta.len()
        } else {
            self.seek(delta, &first_id(prefix + 1, depth))?
        };
        Ok(start..end.max(start))
    }
}

/// Expected number of ids, of `len` between two keys, that are below a third; less than `len`.
fn expected_below(wanted: u64, low: u64, high: u64, len: usize) -> usize {
    // The ids of a damaged file may be out of order.
    let span = high.saturating_sub(low);
    let before = wanted.clamp(low, high.max(low)) - low;
    let share = u128::from(before) * len as u128 / (u128::from(span) + 1);
    let share = usize::try_from(share).unwrap_or_else(|_| internal_error("a share of the length"));
    share.min(len - 1)
}
