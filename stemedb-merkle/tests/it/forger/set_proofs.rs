//! Membership and absence proofs.

use std::collections::BTreeSet;

use stemedb_merkle::{
    Hash, Root,
    proof::{Presence, SetProof, Terminal},
};

use super::{FalseStatement, Random, Tally, all_seeds, assert_caught, assert_sound, seeds};
use crate::set_tree::{HASHES, Hashes, SetTree, bit, split};

const FORGERIES_PER_SEED: usize = 400;

#[test]
fn no_forged_set_proof_verifies() {
    let verify = |proof: &SetProof, root: &Root| proof.verify(root).ok();
    assert_sound(campaign(HASHES, &verify, &seeds()), 50_000);
}

/// The verifier that the flawed ones are made from agrees with ours on every forgery.
#[test]
fn the_verifier_without_flaws_is_ours() {
    let verify = |proof: &SetProof, root: &Root| {
        let verified = proof.verify(root).ok();
        assert_eq!(flawed(Flaw::None, HASHES, proof, root), verified);
        verified
    };
    assert_sound(campaign(HASHES, &verify, &seeds()), 10_000);
}

#[test]
fn the_forger_catches_flawed_verifiers() {
    for flaw in [
        Flaw::TerminalDecidesTheSides,
        Flaw::SidesByDepth,
        Flaw::AnyIdIsPresent,
        Flaw::NoLeafHash,
        Flaw::CountNotHashed,
        Flaw::EmptyNotHashed,
    ] {
        let hashes = flaw.hashes();
        let verify = |proof: &SetProof, root: &Root| flawed(flaw, hashes, proof, root);
        assert_caught(flaw, campaign(hashes, &verify, &all_seeds()));
    }
}

/// The case for the check of the terminal's first bits: a root made over misplaced ids.
#[test]
fn an_id_in_the_wrong_place_is_no_terminal() {
    let (low, high) = ([0x00; 32], [0xff; 32]);
    let (low_leaf, high_leaf) = ((HASHES.leaf)(&low), (HASHES.leaf)(&high));
    let root = Root((HASHES.root)(2, &(HASHES.node)(&high_leaf, &low_leaf)));
    let absent = Terminal::Id(high);
    let proof = SetProof { id: low, count: 2, siblings: vec![low_leaf], terminal: absent };
    assert!(proof.verify(&root).is_err());
    assert_eq!(flawed(Flaw::NoPrefixCheck, HASHES, &proof, &root), Some(Presence::Absent));
}

/// Ways in which verifiers go wrong, each of which the forger has to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Takes any id as the terminal.
    NoPrefixCheck,
    /// Takes any id as the terminal and folds by the terminal's bits.
    TerminalDecidesTheSides,
    /// Siblings lie right at even depths and left at odd ones.
    SidesByDepth,
    /// Says present whatever id is found.
    AnyIdIsPresent,
    /// Trees whose leaves are the ids themselves: inner nodes pass for ids.
    NoLeafHash,
    /// Roots that are the highest node.
    CountNotHashed,
    /// An empty terminal at the end of any path leads to the sibling alone.
    EmptyNotHashed,
}

impl Flaw {
    /// The hashes of the trees that the flawed verifier believes in.
    fn hashes(self) -> Hashes {
        match self {
            Self::NoLeafHash => Hashes { leaf: |id| *id, ..HASHES },
            Self::CountNotHashed => Hashes { root: |_, node| *node, ..HASHES },
            _ => HASHES,
        }
    }
}

/// The verifier of the specification, with a flaw.
fn flawed(flaw: Flaw, hashes: Hashes, proof: &SetProof, root: &Root) -> Option<Presence> {
    let depth = proof.siblings.len();
    if depth > 256 {
        return None;
    }
    let mut sides = proof.id;
    let mut hash = [0; 32];
    if let Terminal::Id(id) = &proof.terminal {
        match flaw {
            Flaw::TerminalDecidesTheSides => sides = *id,
            Flaw::NoPrefixCheck => {}
            _ if (0..depth).any(|depth| bit(id, depth) != bit(&proof.id, depth)) => return None,
            _ => {}
        }
        hash = (hashes.leaf)(id);
    }
    for (depth, sibling) in proof.siblings.iter().enumerate().rev() {
        let sibling_left =
            if flaw == Flaw::SidesByDepth { depth % 2 == 1 } else { bit(&sides, depth) };
        hash = if flaw == Flaw::EmptyNotHashed && hash == [0; 32] {
            *sibling
        } else if sibling_left {
            (hashes.node)(sibling, &hash)
        } else {
            (hashes.node)(&hash, sibling)
        };
    }
    if (hashes.root)(proof.count, &hash) != root.0 {
        return None;
    }
    Some(match proof.terminal {
        Terminal::Id(_) if flaw == Flaw::AnyIdIsPresent => Presence::Present,
        Terminal::Id(id) if id == proof.id => Presence::Present,
        _ => Presence::Absent,
    })
}

fn campaign(
    hashes: Hashes,
    verify: &dyn Fn(&SetProof, &Root) -> Option<Presence>,
    seeds: &[u64],
) -> Result<Tally, FalseStatement> {
    let mut tally = Tally::default();
    for seed in seeds {
        let mut random = Random(*seed);
        let forger = Forger::new(&mut random, hashes);
        let root = forger.tree.root();
        for round in 0..FORGERIES_PER_SEED {
            let asked = forger.any_id(&mut random);
            let honest = forger.tree.prove(&asked);
            let mut proof = honest.clone();
            for _ in 0..=random.below(3) {
                forger.edit(&mut random, &mut proof);
            }
            let Some(presence) = verify(&proof, &root) else {
                tally.refused += 1;
                continue;
            };
            let held = forger.tree.ids.contains(&proof.id);
            let count = forger.tree.ids.len() as u64;
            let found = || format!("STEMEDB_SEED={seed} round {round}: {presence:?} by {proof:?}");
            if (presence == Presence::Present) != held || proof.count != count {
                return Err(FalseStatement(found()));
            }
            if forger.tree.prove(&proof.id) != proof {
                tally.second_proof.get_or_insert_with(found);
                continue;
            }
            tally.honest += 1;
        }
    }
    Ok(tally)
}

struct Forger {
    tree: SetTree,
    hashes: Hashes,
    /// All that a forger has to work with: the nodes of the tree, ids, leaves, and the root.
    known: Vec<Hash>,
}

impl Forger {
    fn new(random: &mut Random, hashes: Hashes) -> Self {
        let count = 1 + random.below(24);
        let shape = random.below(4);
        let base = random.hash();
        let ids: BTreeSet<Hash> = (0..count)
            .map(|_| match shape {
                // Close together: paths of some 30 or 250 bits.
                0 => with_prefix(&base, 30, &random.hash()),
                1 => with_prefix(&base, 248, &random.hash()),
                _ => random.hash(),
            })
            .collect();
        let tree = SetTree::new(ids, hashes);
        let mut known = vec![tree.root().0, (HASHES.root)(0, &[0; 32])];
        collect(&tree, &tree.ids, 0, &mut known);
        known.extend(&tree.ids);
        known.extend(tree.ids.iter().map(hashes.leaf));
        Self { tree, hashes, known }
    }

    /// An id of the set, one beside it, or any.
    fn any_id(&self, random: &mut Random) -> Hash {
        let id = random.pick(&self.tree.ids);
        match random.below(4) {
            0 | 1 => id,
            2 => random.with_bit_flipped(&id),
            _ => random.hash(),
        }
    }

    fn edit(&self, random: &mut Random, proof: &mut SetProof) {
        let depth = proof.siblings.len();
        match random.below(14) {
            0..=3 => random.edit_path(&mut proof.siblings, &self.known),
            4 => proof.terminal = Terminal::Empty,
            5 => proof.terminal = Terminal::Id(self.any_id(random)),
            6 => proof.terminal = Terminal::Id(proof.id),
            // An id that may well stand there.
            7 => proof.terminal = Terminal::Id(with_prefix(&proof.id, depth, &random.hash())),
            8 => {
                proof.count = match random.below(5) {
                    0 => 0,
                    1 => u64::MAX,
                    2 => random.next(),
                    3 => proof.count.wrapping_add(1),
                    _ => proof.count.wrapping_sub(1),
                }
            }
            9 => proof.id = self.any_id(random),
            10 => proof.id = with_prefix(&proof.id, depth, &random.hash()),
            11 => self.pass_off_a_node(random, proof),
            12 => self.deepen(random, proof),
            // The proof of another id, with this one's name or end on it.
            _ => {
                let other = self.tree.prove(&self.any_id(random));
                match random.below(3) {
                    0 => proof.siblings = other.siblings,
                    1 => proof.terminal = other.terminal,
                    _ => *proof = SetProof { id: proof.id, ..other },
                }
            }
        }
    }

    /// Cuts the path short and passes the node there, or any other, off as an id or as nothing.
    fn pass_off_a_node(&self, random: &mut Random, proof: &mut SetProof) {
        let depth = random.below(proof.siblings.len() + 1);
        proof.siblings.truncate(depth);
        let mut here = self.tree.ids.as_slice();
        for depth in 0..depth.min(256) {
            let (zeros, ones) = split(here, depth);
            here = if bit(&proof.id, depth) { ones } else { zeros };
        }
        let node = if random.below(4) > 0 {
            self.tree.node(here, depth)
        } else {
            random.pick(&self.known)
        };
        match random.below(3) {
            0 => proof.terminal = Terminal::Empty,
            1 => proof.terminal = Terminal::Id(node),
            _ => {
                proof.terminal = Terminal::Id(node);
                proof.id = node;
            }
        }
    }

    /// Goes on below the end of the path, as if its leaf were a node, or nothing were something.
    fn deepen(&self, random: &mut Random, proof: &mut SetProof) {
        let sibling = match proof.terminal {
            Terminal::Id(id) if random.below(2) == 0 => (self.hashes.leaf)(&id),
            Terminal::Id(id) => id,
            Terminal::Empty => [0; 32],
        };
        proof.siblings.push(sibling);
        if random.below(2) == 0 {
            proof.terminal = Terminal::Empty;
        }
    }
}

/// The first `bits` of one id and the others of another.
fn with_prefix(prefix: &Hash, bits: usize, rest: &Hash) -> Hash {
    let mut id = *rest;
    for depth in 0..bits.min(256) {
        let mask = 0x80 >> (depth % 8);
        id[depth / 8] = id[depth / 8] & !mask | prefix[depth / 8] & mask;
    }
    id
}

fn collect(tree: &SetTree, ids: &[Hash], depth: usize, nodes: &mut Vec<Hash>) {
    if ids.len() > 1 {
        nodes.push(tree.node(ids, depth));
        let (zeros, ones) = split(ids, depth);
        collect(tree, zeros, depth + 1, nodes);
        collect(tree, ones, depth + 1, nodes);
    }
}
