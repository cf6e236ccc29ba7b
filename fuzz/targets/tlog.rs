//! Parsers of the transparent log: files, notes, tiles, and messages of witnesses.
//!
//! What parses is written the same way where it is written at all, and verifies or not. Signatures
//! stop all random changes, so keys that everybody knows sign again what is to get behind them.

use std::sync::OnceLock;

use stemedb_merkle::{
    AssertionId, LogSize, Root,
    history::{ConsistencyProof, MemoryHistory, TreeHead},
};
use stemedb_tlog::{
    absence::UnverifiedAbsence,
    attestation::{
        AttestationKind, UnverifiedAudit, UnverifiedErasure, UnverifiedRotation, UnverifiedShred,
        is_protected,
    },
    checkpoint::{Checkpoint, Extensions},
    entry_bundle::{self, UnverifiedBundle},
    fence::{Fence, FenceRead, SignerIdentity, Signing, decide},
    fork::UnverifiedFork,
    heads::Heads,
    key_file::PrivateKey,
    key_type::KeyType,
    name::KeyName,
    note::UnverifiedNote,
    policy::Policy,
    proof_file::UnverifiedProof,
    sealed::{DataKey, SealedBody},
    signed_checkpoint::{SignedCheckpoint, UnverifiedCheckpoint},
    signer::Signer,
    tile::{UnverifiedTile, verify_edge},
    tile_path::{TileKind, TilePath},
    time_limits::TimeLimits,
    vkey::VerifierKey,
    witness::{self, WitnessClient, WitnessRequest, WitnessResponse},
};

const ORIGIN: &str = "log.example.com/vectors";
const NOW: TimeLimits = TimeLimits::at(1_700_000_000);

/// The key of a log and that of a witness.
fn keys() -> &'static [PrivateKey; 2] {
    static KEYS: OnceLock<[PrivateKey; 2]> = OnceLock::new();
    KEYS.get_or_init(|| {
        [(ORIGIN, KeyType::Ed25519), ("w", KeyType::Ed25519Cosigner)].map(|(name, key_type)| {
            PrivateKey::from_seed(KeyName::new(name).unwrap(), key_type, &[7; 32]).unwrap()
        })
    })
}

fn log_key() -> VerifierKey {
    keys()[0].key().clone()
}

/// A policy that trusts both.
fn trusted() -> &'static Policy {
    static POLICY: OnceLock<Policy> = OnceLock::new();
    POLICY.get_or_init(|| {
        let [log, witness] = keys();
        let policy = format!("log {}\nwitness w {}\nquorum none\n", log.key(), witness.key());
        Policy::parse(policy.as_bytes()).unwrap()
    })
}

fn signed(size: u64) -> SignedCheckpoint {
    let leaves: MemoryHistory = (0..size).map(|index| [index.to_be_bytes()[7]; 32]).collect();
    let checkpoint = Checkpoint::new(KeyName::new(ORIGIN).unwrap(), leaves.head());
    let note = checkpoint.sign(&[&keys()[0]], 0).unwrap();
    let note = UnverifiedCheckpoint::parse(note.as_bytes(), Extensions::Refuse).unwrap();
    note.verify(&[log_key()], &[]).unwrap()
}

pub(crate) fn vkey(bytes: &[u8]) {
    if let Ok(key) = VerifierKey::parse(bytes, &KeyType::ALL) {
        assert_eq!(key.to_string().as_bytes(), bytes);
    }
}

pub(crate) fn key_file(bytes: &[u8]) {
    if let Ok(key) = PrivateKey::parse(bytes) {
        assert_eq!(key.to_file().as_bytes(), bytes);
    }
}

pub(crate) fn note(bytes: &[u8]) {
    if let Ok(note) = UnverifiedNote::parse(bytes) {
        assert!(note.verify(&[log_key()]).is_err());
    }
}

pub(crate) fn checkpoint_note(bytes: &[u8]) {
    for extensions in [Extensions::Refuse, Extensions::Allow] {
        let Ok(note) = UnverifiedCheckpoint::parse(bytes, extensions) else { continue };
        let origin = note.unverified_origin().clone();
        assert!(trusted().verify_checkpoint(note, &NOW).is_err());
        // The text, signed by the log's key in place of its signer's.
        let text = bytes.split(|byte| *byte == b'\n').next().unwrap();
        assert_eq!(origin.as_str().as_bytes(), text);
    }
}

pub(crate) fn policy(bytes: &[u8]) {
    if let Ok(policy) = Policy::parse(bytes) {
        // More cosignatures never make a quorum fail.
        assert!(policy.is_met(|_| true));
        let odd = policy.is_met(|witness| witness.name.len() % 2 == 1);
        assert!(odd || !policy.is_met(|_| false));
    }
}

pub(crate) fn tlog_proof(bytes: &[u8]) {
    if let Ok(proof) = UnverifiedProof::parse(bytes) {
        assert!(proof.verify(trusted(), AssertionId([1; 32]), &NOW).is_err());
    }
}

pub(crate) fn absence(bytes: &[u8]) {
    if let Ok(proof) = UnverifiedAbsence::parse(bytes) {
        assert!(proof.verify(trusted(), AssertionId([1; 32]), &NOW).is_err());
    }
}

pub(crate) fn fork(bytes: &[u8]) {
    if let Ok(fork) = UnverifiedFork::parse(bytes) {
        assert!(fork.verify(trusted()).is_err());
    }
}

pub(crate) fn fence(bytes: &[u8]) {
    let origin = KeyName::new(ORIGIN).unwrap();
    let signing = Signing {
        origin: &origin,
        keys: &[log_key()],
        signer: SignerIdentity { store: [1; 16], node: [2; 16], epoch: 0 },
        size: LogSize(9),
        new_log: false,
        continues: true,
    };
    let root_at = |_| Root([3; 32]);
    for read in [FenceRead::File(bytes), FenceRead::Witness(bytes)] {
        assert_ne!(decide(&signing, None, read, root_at).exit_code(), 0);
    }
    assert_ne!(decide(&signing, Some(bytes), FenceRead::Absent, root_at).exit_code(), 0);
    if let Ok(fence) = Fence::parse(bytes) {
        assert_eq!(fence.write().as_bytes(), bytes);
    }
}

pub(crate) fn heads(bytes: &[u8]) {
    if let Ok(heads) = Heads::parse(bytes) {
        assert_eq!(heads.to_body().as_bytes(), bytes);
        assert!(is_protected(bytes));
    }
}

pub(crate) fn attestation(bytes: &[u8]) {
    let keys = [log_key()];
    let parsed = [
        UnverifiedErasure::parse(bytes).map(|read| read.verify(&keys).is_ok()),
        UnverifiedShred::parse(bytes).map(|read| read.verify(&keys).is_ok()),
        UnverifiedRotation::parse(bytes).map(|read| read.verify(&keys).is_ok()),
        UnverifiedAudit::parse(bytes).map(|read| read.verify(&keys).is_ok()),
    ];
    let kinds = parsed.iter().filter(|parsed| parsed.is_ok()).count();
    assert_eq!(kinds, usize::from(AttestationKind::of(bytes).is_some()));
    assert!(!parsed.contains(&Ok(true)));
}

pub(crate) fn tile_path(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(path) = TilePath::parse(text) {
        assert_eq!(path.to_string(), text);
        assert_eq!(TilePath::new(path.kind(), path.number(), path.width()), Some(path));
    }
}

/// The path of as many hashes or entries as there are bytes for.
fn path_of(kind: TileKind, len: usize) -> Option<TilePath> {
    TilePath::new(kind, 0, u16::try_from(len).ok()?)
}

pub(crate) fn tile(bytes: &[u8]) {
    let Some(path) = path_of(TileKind::Hashes(0), bytes.len() / 32) else { return };
    let Ok(tile) = UnverifiedTile::parse(path, path, bytes) else { return };
    let size = LogSize(u64::from(path.width()));
    let head = TreeHead { size, root: Root([1; 32]) };
    assert!(verify_edge(&head, vec![tile.clone()]).is_err());
    if path.is_full() {
        return;
    }
    let leaves: MemoryHistory = bytes.as_chunks::<32>().0.iter().copied().collect();
    let tile = verify_edge(&leaves.head(), vec![tile]).unwrap().remove(0);
    assert_eq!(tile.hashes().as_flattened(), bytes);
    for level in 0..10 {
        for index in [0, 1, u64::MAX] {
            let _ = tile.node(level, index);
        }
    }
}

pub(crate) fn entry_bundle(bytes: &[u8]) {
    let Some(path) = path_of(TileKind::Entries, bytes.len() / 42) else { return };
    let Ok(bundle) = UnverifiedBundle::parse(path, path, bytes) else { return };
    if path.is_full() {
        return;
    }
    let entries = bytes.chunks(42).map(|entry| {
        let time = u64::from_be_bytes(entry[2..10].try_into().unwrap());
        let id: [u8; 32] = entry[10..].try_into().unwrap();
        entry_bundle::LogEntry { time: stemedb_merkle::Timestamp::from_ntp64(time), id: id.into() }
    });
    let entries: Vec<_> = entries.collect();
    assert_eq!(entry_bundle::write(&entries), bytes);
    let leaves: MemoryHistory = entries.iter().map(entry_bundle::LogEntry::leaf_hash).collect();
    let hashes: Vec<u8> = entries.iter().flat_map(entry_bundle::LogEntry::leaf_hash).collect();
    let tile = path_of(TileKind::Hashes(0), entries.len()).unwrap();
    let tile = UnverifiedTile::parse(tile, tile, &hashes).unwrap();
    let tile = verify_edge(&leaves.head(), vec![tile]).unwrap().remove(0);
    assert_eq!(tile.verify_entries(bundle).unwrap().entries(), entries);
}

pub(crate) fn witness_request(bytes: &[u8]) {
    for extensions in [Extensions::Refuse, Extensions::Allow] {
        let Ok(request) = WitnessRequest::parse(bytes, extensions) else { continue };
        let decision = witness::decide(request, &[log_key()], None, 5);
        assert!(WitnessResponse::rejected(&decision).is_some());
    }
    // Hashes of anybody in front of a head that is sound.
    let hashes = bytes.as_chunks::<32>().0.iter().take(63).copied().collect();
    let request = WitnessRequest::write(LogSize(0), &ConsistencyProof(hashes), &signed(9));
    let request = WitnessRequest::parse(request.as_bytes(), Extensions::Refuse).unwrap();
    let accepted = witness::decide(request, &[log_key()], None, 5).status() == 200;
    assert_eq!(accepted, bytes.len() < 32);
}

pub(crate) fn witness_response(bytes: &[u8]) {
    let witnesses = [keys()[1].key().clone()];
    let mut client = WitnessClient::new(signed(9), &witnesses, LogSize(0));
    for status in [200, 409, 409, 409, 409, 409, 422, 500] {
        let step = client.on_response(status, witness::SIZE_CONTENT_TYPE, bytes);
        assert!(!matches!(step, witness::ClientStep::Cosigned(_)));
        assert!(client.old() <= client.new_size());
    }
}

pub(crate) fn sealed(bytes: &[u8]) {
    let key = DataKey::new(&[7; 32]);
    if let Ok(body) = SealedBody::parse(bytes) {
        assert!(body.open(&key).is_err());
    }
    let sealed = key.seal([1; 16], [2; 24], bytes).unwrap();
    assert_eq!(SealedBody::parse(&sealed).unwrap().open(&key).unwrap(), bytes);
}
