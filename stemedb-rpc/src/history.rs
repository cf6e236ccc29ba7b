//! Proofs of a store's history, and of what one server says of it.

use stemedb_merkle::history::{
    ConsistencyProof, HistoryProofError, InclusionProof, TreeHead, leaf_hash,
};
use stemedb_store::{Entry, HistoryError, InternalError, LogIndex, LogSize, Root, StoreReader};

use crate::{Failure, Malformed, Reason, convert::array, proto::v1};

/// The most hashes of a proof of inclusion.
const INCLUSION_LEN_MAX: usize = 64;
/// The most hashes of a proof of consistency.
const CONSISTENCY_LEN_MAX: usize = 65;

/// An entry, and a proof that it is in a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// The entry.
    pub entry: Entry,
    /// The log: its size, and the root there.
    pub head: TreeHead,
    /// The proof.
    pub proof: InclusionProof,
}

/// Two sizes of a log, and a proof that it only grew between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// The log as it was: its size, and the root there.
    pub old: TreeHead,
    /// The log as it is.
    pub new: TreeHead,
    /// The proof.
    pub proof: ConsistencyProof,
}

impl Included {
    /// Proves that an entry of a store is among the first `size`, or in all of the log.
    ///
    /// # Errors
    ///
    /// [`Reason::NotFound`] if the log is not that long, and whatever reading gives.
    pub fn of(
        store: &StoreReader,
        index: LogIndex,
        size: Option<LogSize>,
    ) -> Result<Self, Failure> {
        let size = size.unwrap_or_else(|| store.log_size());
        let proof = store.prove_inclusion_at(index, size)?;
        let root = store.history_root_at(size)?;
        let entry = store.entry(index)?.ok_or_else(|| InternalError::new("a proven entry"));
        let entry = entry.map_err(|error| Failure::new(Reason::Failed, error))?;
        Ok(Self { entry, head: TreeHead { size, root }, proof })
    }

    /// Checks the proof against its own head, which means nothing unless that is trusted.
    ///
    /// # Errors
    ///
    /// If it proves nothing.
    pub fn verify(&self) -> Result<(), HistoryProofError> {
        let leaf = leaf_hash(self.entry.time, &self.entry.id.0);
        self.proof.verify(&leaf, self.entry.index, &self.head)
    }
}

impl Grown {
    /// Proves that the first `old` entries of a store's log begin its first `new`, or all of it.
    ///
    /// # Errors
    ///
    /// [`Reason::NotFound`] if the log is not that long, and whatever reading gives.
    pub fn of(store: &StoreReader, old: LogSize, new: Option<LogSize>) -> Result<Self, Failure> {
        let size = store.log_size();
        let new = new.unwrap_or(size);
        if new == size && old > size {
            return Err(HistoryError::SizeOutOfRange { wanted: old, size }.into());
        }
        let proof = store.prove_consistency(old, new)?;
        let head = |size| Ok::<_, Failure>(TreeHead { size, root: store.history_root_at(size)? });
        Ok(Self { old: head(old)?, new: head(new)?, proof })
    }

    /// Checks the proof against its own heads, which means nothing unless one of them is trusted.
    ///
    /// # Errors
    ///
    /// If it proves nothing.
    pub fn verify(&self) -> Result<(), HistoryProofError> {
        self.proof.verify(&self.old, &self.new)
    }
}

impl From<Included> for v1::ProveInclusionResponse {
    fn from(included: Included) -> Self {
        let Included { entry, head, proof } = included;
        let (size, root) = (head.size.get(), head.root.0.to_vec());
        Self { entry: Some((entry, None).into()), size, root, hashes: proof.0.concat() }
    }
}

impl TryFrom<v1::ProveInclusionResponse> for Included {
    type Error = Malformed;

    fn try_from(message: v1::ProveInclusionResponse) -> Result<Self, Malformed> {
        let v1::ProveInclusionResponse { entry, size, root, hashes } = message;
        let (entry, _) = entry.ok_or(Malformed::missing("entry"))?.try_into()?;
        let head = TreeHead { size: LogSize(size), root: Root(array("root", &root)?) };
        let proof = InclusionProof(self::hashes(&hashes, INCLUSION_LEN_MAX)?);
        Ok(Self { entry, head, proof })
    }
}

impl From<Grown> for v1::ProveConsistencyResponse {
    fn from(grown: Grown) -> Self {
        let Grown { old, new, proof } = grown;
        Self {
            old_size: old.size.get(),
            old_root: old.root.0.to_vec(),
            new_size: new.size.get(),
            new_root: new.root.0.to_vec(),
            hashes: proof.0.concat(),
        }
    }
}

impl TryFrom<v1::ProveConsistencyResponse> for Grown {
    type Error = Malformed;

    fn try_from(message: v1::ProveConsistencyResponse) -> Result<Self, Malformed> {
        let v1::ProveConsistencyResponse { old_size, old_root, new_size, new_root, hashes } =
            message;
        let old = TreeHead { size: LogSize(old_size), root: Root(array("old_root", &old_root)?) };
        let new = TreeHead { size: LogSize(new_size), root: Root(array("new_root", &new_root)?) };
        let proof = ConsistencyProof(self::hashes(&hashes, CONSISTENCY_LEN_MAX)?);
        Ok(Self { old, new, proof })
    }
}

fn hashes(bytes: &[u8], max: usize) -> Result<Vec<[u8; 32]>, Malformed> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if hashes.len() > max || !rest.is_empty() {
        return Err(Malformed::new("hashes", "must be whole hashes, and no more than a proof has"));
    }
    Ok(hashes.to_vec())
}
