//! The test vectors of the specification, made by an independent implementation: all of them, every
//! field, and the forgeries that must not verify.

use serde_json::{Map, Value};
use stemedb_merkle::{
    Hash, Root, Timestamp,
    hash::derive,
    history::{
        ConsistencyProof, EMPTY_ROOT, InclusionProof, LogIndex, LogSize, TreeHead, leaf_hash,
    },
    id::from_hex,
    proof::{Presence, ProofFile, SetProof, Terminal},
};

use crate::{
    history_tree,
    set_tree::{HASHES, SetTree},
};

const VECTORS: &str = include_str!("../data/vectors.json");

fn vectors() -> Map<String, Value> {
    let vectors: Value = serde_json::from_str(VECTORS).unwrap();
    object(&vectors, "cases comment derived_keys empty_set_root raw_ids")
}

/// An object with just these fields, so that none goes unnoticed.
fn object(value: &Value, fields: &str) -> Map<String, Value> {
    let object = value.as_object().unwrap();
    let mut found: Vec<_> = object.keys().map(String::as_str).collect();
    found.sort_unstable();
    assert_eq!(found.join(" "), fields);
    object.clone()
}

fn hash(value: &Value) -> Hash {
    from_hex(value.as_str().unwrap()).unwrap()
}

fn hashes(value: &Value) -> Vec<Hash> {
    value.as_array().unwrap().iter().map(hash).collect()
}

fn set_proof(object: &Map<String, Value>) -> SetProof {
    SetProof {
        id: hash(&object["id"]),
        count: object["count"].as_u64().unwrap(),
        siblings: hashes(&object["siblings"]),
        terminal: match object["terminal"].as_str().unwrap() {
            "empty" => Terminal::Empty,
            id => Terminal::Id(from_hex(id).unwrap()),
        },
    }
}

/// Checks a proof against a root, directly and by way of a file.
fn verify(proof: &SetProof, root: &Root) -> Option<Presence> {
    let verified = proof.verify(root);
    let file = ProofFile { proof: proof.clone(), root: *root };
    let read = ProofFile::parse(file.write().as_bytes()).unwrap();
    assert_eq!(read, file);
    assert_eq!(read.proof.verify(root), verified);
    verified.ok()
}

#[test]
fn keys_are_derived_as_specified() {
    let keys = object(&vectors()["derived_keys"], "set leaf set node set root");
    for (domain, key) in &keys {
        assert_eq!(derive(domain, b""), hash(key), "{domain}");
    }
}

#[test]
fn the_empty_set_has_its_root() {
    let root = Root(hash(&vectors()["empty_set_root"]));
    assert_eq!(SetTree::new([], HASHES).root(), root);
    let proof = SetProof { id: [1; 32], count: 0, siblings: vec![], terminal: Terminal::Empty };
    assert_eq!(verify(&proof, &root), Some(Presence::Absent));
}

#[test]
fn every_case_holds() {
    let vectors = vectors();
    let cases = vectors["cases"].as_array().unwrap();
    let mut sizes = Vec::new();
    let mut forgeries = 0;
    for case in cases {
        let fields = if case["bodies"].as_array().unwrap().is_empty() {
            "absent bodies ids log_root log_times secret_hex set_root"
        } else {
            "absent bodies consistency forgeries ids inclusion log_root log_times present \
             secret_hex set_root"
        };
        let case = object(case, fields);
        let ids = check_ids(&case);
        check_set(&case, &ids);
        check_log(&case, &ids);
        forgeries += check_forgeries(&case);
        sizes.push(ids.len());
    }
    assert_eq!(sizes, [0, 1, 2, 3, 4, 5, 7, 8, 33, 100, 0, 1, 2, 9, 64]);
    assert_eq!(forgeries, FORGERIES);
}

const FORGERIES: usize = 168;

/// Bodies to ids, with the secret where there is one.
fn check_ids(case: &Map<String, Value>) -> Vec<Hash> {
    let digits = case["secret_hex"].as_str().unwrap().as_bytes();
    let secret: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let ids = hashes(&case["ids"]);
    let bodies = case["bodies"].as_array().unwrap();
    assert_eq!(ids.len(), bodies.len());
    for (body, id) in bodies.iter().zip(&ids) {
        let body = body.as_str().unwrap().as_bytes();
        let expected = if secret.is_empty() {
            blake3::hash(body)
        } else {
            blake3::keyed_hash(&derive("assertion id", &secret), body)
        };
        assert_eq!(expected.as_bytes(), id);
    }
    ids
}

fn check_set(case: &Map<String, Value>, ids: &[Hash]) {
    let root = Root(hash(&case["set_root"]));
    let tree = SetTree::new(ids.iter().copied(), HASHES);
    assert_eq!(tree.root(), root);

    let absent = set_proof(&object(&case["absent"], "count id siblings terminal"));
    assert!(!ids.contains(&absent.id));
    assert_eq!(tree.prove(&absent.id), absent);
    assert_eq!(verify(&absent, &root), Some(Presence::Absent));

    if let Some(present) = case.get("present") {
        let present = object(present, "count id index siblings terminal");
        let proof = set_proof(&present);
        let index = usize::try_from(present["index"].as_u64().unwrap()).unwrap();
        assert_eq!(ids[index], proof.id);
        assert_eq!(tree.prove(&proof.id), proof);
        assert_eq!(verify(&proof, &root), Some(Presence::Present));
    }
    for id in ids {
        assert_eq!(verify(&tree.prove(id), &root), Some(Presence::Present));
    }
}

fn check_forgeries(case: &Map<String, Value>) -> usize {
    let Some(forgeries) = case.get("forgeries") else { return 0 };
    let root = Root(hash(&case["set_root"]));
    let forgeries = forgeries.as_array().unwrap();
    for forgery in forgeries {
        let forgery = object(forgery, "count id siblings terminal what");
        let what = &forgery["what"];
        assert_eq!(verify(&set_proof(&forgery), &root), None, "verifies: {what}");
    }
    forgeries.len()
}

fn check_log(case: &Map<String, Value>, ids: &[Hash]) {
    let times = case["log_times"].as_array().unwrap();
    assert_eq!(times.len(), ids.len());
    let entries = times.iter().zip(ids);
    let leaves: Vec<_> = entries
        .map(|(time, id)| leaf_hash(Timestamp::from_ntp64(time.as_u64().unwrap()), id))
        .collect();
    let head = TreeHead { size: LogSize(ids.len() as u64), root: Root(hash(&case["log_root"])) };
    assert_eq!(history_tree::root(&leaves), head.root.0);
    #[cfg(feature = "std")]
    check_trees(case, &leaves, &head);
    if leaves.is_empty() {
        assert_eq!(head.root, EMPTY_ROOT);
        return;
    }

    let inclusion = object(&case["inclusion"], "index leaf proof size");
    assert_eq!(inclusion["size"].as_u64(), Some(head.size.0));
    let index = LogIndex(inclusion["index"].as_u64().unwrap());
    let leaf = hash(&inclusion["leaf"]);
    let at = usize::try_from(index.0).unwrap();
    assert_eq!(leaves[at], leaf);
    let proof = InclusionProof(hashes(&inclusion["proof"]));
    assert_eq!(history_tree::inclusion(at, &leaves), proof.0);
    assert_eq!(proof.verify(&leaf, index, &head), Ok(()));

    let consistency = object(&case["consistency"], "new old old_root proof");
    assert_eq!(consistency["new"].as_u64(), Some(head.size.0));
    let old_size = LogSize(consistency["old"].as_u64().unwrap());
    let old = TreeHead { size: old_size, root: Root(hash(&consistency["old_root"])) };
    let proof = ConsistencyProof(hashes(&consistency["proof"]));
    let at = usize::try_from(old_size.0).unwrap();
    assert_eq!(history_tree::consistency(at, &leaves), proof.0);
    assert_eq!(proof.verify(&old, &head), Ok(()));
}

/// The trees that prove make the same roots and proofs.
#[cfg(feature = "std")]
fn check_trees(case: &Map<String, Value>, leaves: &[Hash], head: &TreeHead) {
    use stemedb_merkle::history::{History, MemoryHistory, root_at};

    let tree: MemoryHistory = leaves.iter().copied().collect();
    assert_eq!(tree.head(), *head);
    let mut history = History::new();
    history.extend(leaves.iter().copied(), |_| ());
    assert_eq!(history.head(), *head);
    if leaves.is_empty() {
        return;
    }
    let proof = InclusionProof(hashes(&case["inclusion"]["proof"]));
    let index = LogIndex(case["inclusion"]["index"].as_u64().unwrap());
    assert_eq!(InclusionProof::prove(&tree, index, head.size), Ok(proof));
    let proof = ConsistencyProof(hashes(&case["consistency"]["proof"]));
    let old_size = LogSize(case["consistency"]["old"].as_u64().unwrap());
    assert_eq!(root_at(&tree, old_size), Ok(Root(hash(&case["consistency"]["old_root"]))));
    assert_eq!(ConsistencyProof::prove(&tree, old_size, head.size), Ok(proof));
}

/// Ids that share up to 255 bits, so that paths are as long as they get.
#[test]
fn raw_ids_hold() {
    let raw = object(&vectors()["raw_ids"], "ids proofs set_root");
    let root = Root(hash(&raw["set_root"]));
    let ids = hashes(&raw["ids"]);
    let tree = SetTree::new(ids.iter().copied(), HASHES);
    assert_eq!(tree.root(), root);
    let proofs = raw["proofs"].as_array().unwrap();
    assert_eq!((ids.len(), proofs.len()), (10, 10));
    let mut longest = 0;
    for (id, proof) in ids.iter().zip(proofs) {
        let proof = set_proof(&object(proof, "count id siblings terminal"));
        assert_eq!(proof.id, *id);
        assert_eq!(tree.prove(id), proof);
        assert_eq!(verify(&proof, &root), Some(Presence::Present));
        longest = longest.max(proof.siblings.len());
    }
    assert_eq!(longest, 256);
}
