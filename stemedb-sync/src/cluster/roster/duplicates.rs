//! Second keys of node ids that were told of: each once, and not too many.

use std::{collections::VecDeque, time::Duration};

use crate::{cluster::key::PublicKey, message::NodeId};

/// Second keys that are told of in [`TOLD_PERIOD`],
const DUPLICATES_MAX: usize = 256;
/// and those of one node id: made-up keys of one don't keep those of others from being told of.
const OF_NODE_MAX: usize = 4;
/// After this time the one that was told of first gives way to another.
const TOLD_PERIOD: Duration = Duration::from_secs(600);

/// Second keys that were told of, and when.
#[derive(Debug, Default)]
pub(super) struct Duplicates(VecDeque<(NodeId, PublicKey, Duration)>);

impl Duplicates {
    /// Whether to report a second key of an id, which counts as reported then.
    pub(super) fn is_new(&mut self, node: NodeId, key: PublicKey, now: Duration) -> bool {
        let told = &mut self.0;
        if told.iter().any(|(of, known, _)| *of == node && *known == key) {
            return false;
        }
        // They are in the order in which they were told.
        let full = told.len() >= DUPLICATES_MAX;
        let full_of_node = told.iter().filter(|(of, ..)| *of == node).count() >= OF_NODE_MAX;
        let oldest = if full_of_node {
            told.iter().position(|(of, ..)| *of == node)
        } else {
            full.then_some(0)
        };
        if let Some(oldest) = oldest {
            let old = |(_, _, at): &(_, _, Duration)| now.saturating_sub(*at) >= TOLD_PERIOD;
            if !told.get(oldest).is_some_and(old) {
                return false;
            }
            told.remove(oldest);
        }
        told.push_back((node, key, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn made_up_second_keys_do_not_hide_real_ones() {
        let mut duplicates = Duplicates::default();
        let key = |number: u16| {
            let mut key = [1; 32];
            key[..2].copy_from_slice(&number.to_le_bytes());
            key
        };
        let told = (0..2_000).filter(|n| duplicates.is_new([1; 16], key(*n), SECOND)).count();
        assert_eq!(told, OF_NODE_MAX);
        assert!(duplicates.is_new([2; 16], key(0), SECOND), "of another id");
        assert!(!duplicates.is_new([2; 16], key(0), SECOND), "each once");
        for node in 3..=255 {
            let _ = duplicates.is_new([node; 16], key(0), SECOND);
            let _ = duplicates.is_new([node; 16], key(1), SECOND);
        }
        assert_eq!(duplicates.0.len(), DUPLICATES_MAX);
        assert!(!duplicates.is_new([0; 16], key(9), 2 * SECOND), "enough for now");
        // Later the real ones are told of, and it is still bounded.
        assert!(duplicates.is_new([0; 16], key(9), SECOND + TOLD_PERIOD));
        assert!(duplicates.is_new([1; 16], key(9_999), SECOND + TOLD_PERIOD));
        assert_eq!(duplicates.0.len(), DUPLICATES_MAX);
    }
}
