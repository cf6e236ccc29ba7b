//! Keys of node ids: an id belongs to the key that proved it first, while that may come back.

use std::{collections::BTreeMap, time::Duration};

use super::{super::REMEMBERED_TIME_MAX, KnownMember, MEMBERS_MAX};
use crate::{cluster::key::PublicKey, message::NodeId};

/// The id of a node that is gone is held for as long as it was there, within these bounds.
const HOLD_TIMES: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(60 * 60)];
/// A node that was noted as being there twice within this time was there between.
const GAP_MAX: Duration = Duration::from_secs(10);
/// Ids whose keys are remembered, those of members included.
const CLAIMS_MAX: usize = 2 * MEMBERS_MAX;

/// The claim of a key to a node id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) key: PublicKey,
    /// For how long it was there, in all runs of this node.
    pub(super) known: Duration,
    /// When it was there last, or when this node began,
    alive: Duration,
    /// and for how long it had been gone then.
    away: Duration,
    /// Whether a session with it ended well.
    pub(super) met: bool,
}

impl Claim {
    fn new(key: PublicKey, now: Duration) -> Self {
        Self { key, known: Duration::ZERO, alive: now, away: Duration::ZERO, met: false }
    }

    /// For how long it is gone.
    pub(super) fn away(&self, now: Duration) -> Duration {
        self.away + now.saturating_sub(self.alive)
    }

    /// Whether no other key may have the id.
    fn holds(&self, now: Duration) -> bool {
        let [least, most] = HOLD_TIMES;
        self.away(now) < self.known.clamp(least, most)
    }

    fn note_alive(&mut self, now: Duration) {
        let gap = self.away(now);
        if gap <= GAP_MAX {
            self.known += gap;
        }
        (self.alive, self.away) = (now, Duration::ZERO);
    }
}

/// The keys of node ids.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// One or two for each id. The first goes before the second, which has the id only while the
    /// first does not hold it.
    keys: BTreeMap<NodeId, Vec<Claim>>,
}

impl Claims {
    /// Takes up what was known in an earlier run. That run may have ended long after this was
    /// written down: one that a session ended well with is held as one that was there for long. Not
    /// so others: who claims an id for a while would keep its holder out for an hour.
    pub(super) fn remember(&mut self, known: &KnownMember, now: Duration) {
        let KnownMember { node, key, known, away, met, .. } = *known;
        let [_, most] = HOLD_TIMES;
        let known = if met { known.max(most) } else { known };
        self.keys.insert(node, vec![Claim { key, known, alive: now, away, met }]);
    }

    /// Whether an id belongs to another key than this one, for now.
    pub(super) fn is_held(&self, node: &NodeId, key: &PublicKey, now: Duration) -> bool {
        let before = self.of(node).iter().take_while(|claim| claim.key != *key);
        before.into_iter().any(|claim| claim.holds(now))
    }

    /// A key that is not kept from it has proved that the id is its own.
    pub(super) fn prove(&mut self, node: NodeId, key: PublicKey, now: Duration) {
        let claims = self.keys.entry(node).or_default();
        match claims.iter().position(|claim| claim.key == key) {
            // It is back, and the second has nothing to look for.
            Some(0) => claims.truncate(1),
            Some(_) => {}
            None => {
                claims.truncate(1);
                claims.push(Claim::new(key, now));
            }
        }
        self.note_alive(&node, &key, now);
    }

    /// Notes that the node with this key is there.
    pub(super) fn note_alive(&mut self, node: &NodeId, key: &PublicKey, now: Duration) {
        if let Some(claim) = self.get_mut(node, key) {
            claim.note_alive(now);
        }
    }

    /// Notes that a session with it ended well; whether that is new.
    pub(super) fn note_met(&mut self, node: &NodeId, key: &PublicKey) -> bool {
        self.get_mut(node, key).is_some_and(|claim| !std::mem::replace(&mut claim.met, true))
    }

    /// Whether a session with it ever ended well.
    pub(super) fn is_met(&self, node: &NodeId, key: &PublicKey) -> bool {
        self.of(node).iter().any(|claim| claim.key == *key && claim.met)
    }

    /// The one that goes before others.
    pub(super) fn first(&self, node: &NodeId) -> Option<&Claim> {
        self.of(node).first()
    }

    /// Forgets keys that were gone for too long. A second one that was there for longer than the
    /// first, and than any is held, takes its place.
    pub(super) fn expire(&mut self, is_member: impl Fn(&NodeId) -> bool, now: Duration) {
        let [_, most] = HOLD_TIMES;
        self.keys.retain(|_, claims| {
            claims.retain(|claim| claim.away(now) < REMEMBERED_TIME_MAX);
            if let [first, second] = claims[..]
                && second.known > first.known.max(most)
            {
                *claims = vec![second];
            }
            !claims.is_empty()
        });
        let over = self.keys.len().saturating_sub(CLAIMS_MAX);
        if over == 0 {
            return;
        }
        let gone = self.keys.iter().filter(|(node, _)| !is_member(node));
        let mut gone: Vec<_> = gone
            .map(|(node, claims)| {
                let met = claims.iter().any(|claim| claim.met);
                let away = claims.iter().map(|claim| claim.away(now)).min();
                (met, std::cmp::Reverse(away), *node)
            })
            .collect();
        gone.sort_unstable();
        for (_, _, node) in gone.into_iter().take(over) {
            self.keys.remove(&node);
        }
    }

    fn of(&self, node: &NodeId) -> &[Claim] {
        self.keys.get(node).map_or(&[], Vec::as_slice)
    }

    fn get_mut(&mut self, node: &NodeId, key: &PublicKey) -> Option<&mut Claim> {
        self.keys.get_mut(node)?.iter_mut().find(|claim| claim.key == *key)
    }
}
