//! Inclusion and consistency proofs.

use stemedb_merkle::{
    Hash, Root, Timestamp,
    history::{
        ConsistencyProof, EMPTY_ROOT, InclusionProof, LogIndex, LogSize, MemoryHistory, TreeHead,
        leaf_hash, node_hash, root_at,
    },
};

use super::{FalseStatement, Random, Tally, all_seeds, assert_caught, assert_sound, seeds};
use crate::history_tree;

const FORGERIES_PER_SEED: usize = 400;

type VerifyInclusion = dyn Fn(&[Hash], &Hash, LogIndex, &TreeHead) -> bool;
type VerifyConsistency = dyn Fn(&[Hash], &TreeHead, &TreeHead) -> bool;

#[test]
fn no_forged_inclusion_proof_verifies() {
    let verify = |path: &[Hash], leaf: &Hash, index, head: &TreeHead| {
        let verified = InclusionProof(path.to_vec()).verify(leaf, index, head).is_ok();
        assert_eq!(flawed_inclusion(Flaw::None, path, leaf, index, head), verified);
        verified
    };
    assert_sound(inclusion_campaign(&verify, &seeds()), 50_000);
}

#[test]
fn no_forged_consistency_proof_verifies() {
    let verify = |path: &[Hash], old: &TreeHead, new: &TreeHead| {
        let verified = ConsistencyProof(path.to_vec()).verify(old, new).is_ok();
        assert_eq!(flawed_consistency(Flaw::None, path, old, new), verified);
        verified
    };
    assert_sound(consistency_campaign(&verify, &seeds()), 30_000);
}

#[test]
fn the_forger_catches_flawed_verifiers() {
    for flaw in [Flaw::AnyLength, Flaw::AnyIndex] {
        let verify = move |path: &[Hash], leaf: &Hash, index, head: &TreeHead| {
            flawed_inclusion(flaw, path, leaf, index, head)
        };
        assert_caught(flaw, inclusion_campaign(&verify, &all_seeds()));
    }
    for flaw in [Flaw::OldRootUnchecked, Flaw::NewRootUnchecked, Flaw::EmptyPathAccepted] {
        let verify = move |path: &[Hash], old: &TreeHead, new: &TreeHead| {
            flawed_consistency(flaw, path, old, new)
        };
        assert_caught(flaw, consistency_campaign(&verify, &all_seeds()));
    }
}

/// Ways in which verifiers go wrong, each of which the forger has to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Paths may be too short: inner nodes pass for leaves.
    AnyLength,
    /// The index may be beyond the size.
    AnyIndex,
    /// Compares the new root only.
    OldRootUnchecked,
    /// Compares the old root only.
    NewRootUnchecked,
    /// Has nothing against a path without hashes.
    EmptyPathAccepted,
}

/// RFC 9162, section 2.1.3.2, step by step, with a flaw.
fn flawed_inclusion(
    flaw: Flaw,
    path: &[Hash],
    leaf: &Hash,
    index: LogIndex,
    head: &TreeHead,
) -> bool {
    let (mut first, mut second) = (index.0, head.size.0.wrapping_sub(1));
    if flaw != Flaw::AnyIndex && index.0 >= head.size.0 {
        return false;
    }
    let mut hash = *leaf;
    for sibling in path {
        if second == 0 {
            return false;
        }
        let sibling_left = first & 1 == 1 || first == second;
        if sibling_left {
            while first & 1 == 0 && first != 0 {
                (first, second) = (first >> 1, second >> 1);
            }
        }
        hash = if sibling_left { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
        (first, second) = (first >> 1, second >> 1);
    }
    hash == head.root.0 && (second == 0 || flaw == Flaw::AnyLength)
}

/// RFC 9162, section 2.1.4.2, step by step, with a flaw.
fn flawed_consistency(flaw: Flaw, path: &[Hash], old: &TreeHead, new: &TreeHead) -> bool {
    let sound = |head: &TreeHead| head.size.0 > 0 || head.root == EMPTY_ROOT;
    if old.size > new.size || !sound(old) || !sound(new) {
        return false;
    }
    if old.size == new.size {
        return path.is_empty() && old.root == new.root;
    }
    if old.size.0 == 0 {
        return path.is_empty();
    }
    if path.is_empty() {
        return flaw == Flaw::EmptyPathAccepted;
    }
    let mut path = path.to_vec();
    if old.size.0.is_power_of_two() {
        path.insert(0, old.root.0);
    }
    let (mut first, mut second) = (old.size.0 - 1, new.size.0 - 1);
    while first & 1 == 1 {
        (first, second) = (first >> 1, second >> 1);
    }
    let (mut old_root, mut new_root) = (path[0], path[0]);
    for sibling in &path[1..] {
        if second == 0 {
            return false;
        }
        if first & 1 == 1 || first == second {
            old_root = node_hash(sibling, &old_root);
            new_root = node_hash(sibling, &new_root);
            while first & 1 == 0 && first != 0 {
                (first, second) = (first >> 1, second >> 1);
            }
        } else {
            new_root = node_hash(&new_root, sibling);
        }
        (first, second) = (first >> 1, second >> 1);
    }
    second == 0
        && (old_root == old.root.0 || flaw == Flaw::OldRootUnchecked)
        && (new_root == new.root.0 || flaw == Flaw::NewRootUnchecked)
}

/// A log, and a fork of it: the same entries up to a point, and others after.
struct Logs {
    leaves: [Vec<Hash>; 2],
    heads: [Vec<TreeHead>; 2],
    /// Leaves and inner nodes of both.
    known: Vec<Hash>,
}

impl Logs {
    fn new(random: &mut Random) -> Self {
        let size = 1 + random.below(40);
        let shared = random.below(size);
        let mut leaf = |time| leaf_hash(Timestamp::from_ntp64(time), &random.hash());
        let log: Vec<_> = (0..size as u64).map(&mut leaf).collect();
        let mut fork = log[..shared].to_vec();
        fork.extend((shared as u64..size as u64).map(&mut leaf));
        let leaves = [log, fork];
        let mut known = vec![EMPTY_ROOT.0];
        let heads = [0, 1].map(|log: usize| {
            let tree: MemoryHistory = leaves[log].iter().copied().collect();
            let head = |size| {
                let size = LogSize(size as u64);
                TreeHead { size, root: root_at(&tree, size).unwrap() }
            };
            (0..=size).map(head).collect::<Vec<_>>()
        });
        for log in 0..2 {
            known.extend(&leaves[log]);
            known.extend(heads[log].iter().map(|head| head.root.0));
            known.extend(leaves[log].chunks_exact(2).map(|pair| node_hash(&pair[0], &pair[1])));
        }
        Self { leaves, heads, known }
    }

    /// The entries that a head commits to, in a log that the forger knows.
    fn committed(&self, head: &TreeHead) -> Option<&[Hash]> {
        let size = usize::try_from(head.size.0).ok()?;
        let log = (0..2).find(|log| self.heads[*log].get(size) == Some(head))?;
        self.leaves[log].get(..size)
    }
}

fn inclusion_campaign(verify: &VerifyInclusion, seeds: &[u64]) -> Result<Tally, FalseStatement> {
    let mut tally = Tally::default();
    for seed in seeds {
        let mut random = Random(*seed);
        let logs = Logs::new(&mut random);
        let leaves = &logs.leaves[0];
        for round in 0..FORGERIES_PER_SEED {
            let size = 1 + random.below(leaves.len());
            let at = random.below(size);
            let mut forgery = Inclusion {
                path: history_tree::inclusion(at, &leaves[..size]),
                leaf: leaves[at],
                index: LogIndex(at as u64),
                head: logs.heads[0][size],
            };
            for _ in 0..=random.below(3) {
                forgery.edit(&mut random, &logs);
            }
            let Inclusion { path, leaf, index, head } = &forgery;
            if !verify(path, leaf, *index, head) {
                tally.refused += 1;
                continue;
            }
            let found = format!("STEMEDB_SEED={seed} round {round}: {forgery:?}");
            let committed = logs.committed(head).unwrap_or_default();
            let at = usize::try_from(index.0).unwrap_or(usize::MAX);
            if committed.get(at) != Some(leaf) {
                return Err(FalseStatement(found));
            }
            if history_tree::inclusion(at, committed) != *path {
                tally.second_proof.get_or_insert(found);
                continue;
            }
            tally.honest += 1;
        }
    }
    Ok(tally)
}

#[derive(Debug)]
struct Inclusion {
    path: Vec<Hash>,
    leaf: Hash,
    index: LogIndex,
    head: TreeHead,
}

impl Inclusion {
    fn edit(&mut self, random: &mut Random, logs: &Logs) {
        match random.below(8) {
            0..=2 => random.edit_path(&mut self.path, &logs.known),
            3 => self.leaf = random.pick(&logs.known),
            4 => {
                self.index = LogIndex(match random.below(4) {
                    0 => self.index.0 ^ 1,
                    1 => self.index.0.wrapping_sub(1),
                    2 => self.head.size.0,
                    _ => random.below(64) as u64,
                });
            }
            // A head is trusted, so it is always one of a log; of which, the forger chooses.
            5 => {
                let log = random.below(2);
                self.head = random.pick(&logs.heads[log]);
            }
            // An inner node as a leaf: the path from there on, and the index it would have.
            6 if !self.path.is_empty() => {
                let sibling = self.path.remove(0);
                self.leaf = if self.index.0 & 1 == 1 {
                    node_hash(&sibling, &self.leaf)
                } else {
                    node_hash(&self.leaf, &sibling)
                };
                self.index = LogIndex(self.index.0 >> random.below(2));
            }
            _ => {
                let leaves = &logs.leaves[random.below(2)];
                let at = random.below(leaves.len());
                self.path = history_tree::inclusion(at, leaves);
            }
        }
    }
}

fn consistency_campaign(
    verify: &VerifyConsistency,
    seeds: &[u64],
) -> Result<Tally, FalseStatement> {
    let mut tally = Tally::default();
    for seed in seeds {
        let mut random = Random(*seed);
        let logs = Logs::new(&mut random);
        for round in 0..FORGERIES_PER_SEED {
            let leaves = &logs.leaves[0];
            let new = random.below(leaves.len() + 1);
            let old = random.below(new + 1);
            let mut forgery = Consistency {
                path: history_tree::consistency(old, &leaves[..new]),
                old: logs.heads[0][old],
                new: logs.heads[0][new],
            };
            for _ in 0..=random.below(3) {
                forgery.edit(&mut random, &logs);
            }
            let Consistency { path, old, new } = &forgery;
            if !verify(path, old, new) {
                tally.refused += 1;
                continue;
            }
            let found = format!("STEMEDB_SEED={seed} round {round}: {forgery:?}");
            // Every log begins like itself, and with nothing.
            let trivial = old == new || *old == logs.heads[0][0];
            let honest = match (logs.committed(old), logs.committed(new)) {
                (Some(old), Some(new)) if new.starts_with(old) => {
                    Some(history_tree::consistency(old.len(), new))
                }
                _ if trivial => Some(Vec::new()),
                _ => None,
            };
            match honest {
                None => return Err(FalseStatement(found)),
                Some(honest) if honest != *path => tally.second_proof = Some(found),
                Some(_) => tally.honest += 1,
            }
        }
    }
    Ok(tally)
}

#[derive(Debug)]
struct Consistency {
    path: Vec<Hash>,
    old: TreeHead,
    new: TreeHead,
}

impl Consistency {
    fn edit(&mut self, random: &mut Random, logs: &Logs) {
        let log = random.below(2);
        let other = random.pick(&logs.heads[log]);
        let root = if random.below(2) == 0 {
            random.pick(&logs.known)
        } else {
            random.with_bit_flipped(&self.new.root.0)
        };
        // The same size in the other log.
        let forked = |head: &TreeHead| {
            let size = usize::try_from(head.size.0).unwrap();
            logs.heads[log].get(size).copied().unwrap_or(other)
        };
        match random.below(10) {
            0..=2 => random.edit_path(&mut self.path, &logs.known),
            3 => self.old = other,
            4 => self.new = other,
            5 => self.old = forked(&self.old),
            6 => self.new = forked(&self.new),
            7 => self.old.root = Root(root),
            8 => self.new.root = Root(root),
            _ => {
                let leaves = &logs.leaves[log];
                self.path = history_tree::consistency(random.below(leaves.len() + 1), leaves);
            }
        }
    }
}
