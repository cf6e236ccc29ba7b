//! Manifest of an archived log, as JSON.

use std::{collections::HashSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use stemedb_merkle::{
    Hash,
    id::{from_hex, to_hex},
};
use stemedb_wal::{
    identity::Identity,
    sealed::{HEADER_LEN, SEGMENT_LEN_MAX},
};

/// How long an object is at most: files are cut into parts of this length.
///
/// One is sent or held by a single request, so this bounds memory, and what a request that failed
/// has to send again.
pub(super) const PART_LEN: usize = 16 << 20;

/// A dropped segment is read by the same parts.
const _: () = assert!(PART_LEN == stemedb_wal::remote::PART_LEN);

/// Name of the format.
pub(super) const FORMAT: &str = "stemedb.dev/archive@v1";

/// The longest manifest that is read, in bytes: some 200,000 segments, 12 TiB of log.
pub(super) const MANIFEST_LEN_MAX: u64 = 64 << 20;

/// The most files that a restart checkpoint has: a base and six deltas.
const CHECKPOINT_FILES_MAX: usize = 7;

/// The longest file of a restart checkpoint.
const CHECKPOINT_LEN_MAX: u64 = 1 << 42;

/// The log of one node: no two nodes write under the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogName {
    /// Which store.
    pub store_id: [u8; 16],
    /// Which node wrote it.
    pub node_id: [u8; 16],
    /// The epoch of the log.
    pub epoch: u64,
    /// The generation of its segments.
    pub generation: u32,
}

/// Manifest of an archived log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: String,
    #[serde(with = "hex16")]
    pub(super) store_id: [u8; 16],
    #[serde(with = "hex16")]
    pub(super) node_id: [u8; 16],
    pub(super) epoch: u64,
    pub(super) generation: u32,
    #[serde(with = "hex16")]
    pub(super) salt_seed: [u8; 16],
    /// Whether ids are keyed with a secret, which is not here.
    pub(super) secret: bool,
    /// When it was written, in seconds since 1970.
    pub(super) time: u64,
    /// How many entries the segments hold.
    pub(super) log_size: u64,
    pub(super) log_root: Hex32,
    /// How many bodies they hold.
    pub(super) count: u64,
    pub(super) set_root: Hex32,
    /// The ids of entries whose bodies are lost, sorted.
    pub(super) holes: Vec<Hex32>,
    pub(super) segments: Vec<ArchivedSegment>,
    pub(super) checkpoint: Option<ArchivedCheckpoint>,
}

/// A sealed segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchivedSegment {
    pub(super) first_index: u64,
    pub(super) next_index: u64,
    pub(super) first_position: u64,
    pub(super) len: u64,
    pub(super) parts: Vec<Hex32>,
}

/// A restart checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchivedCheckpoint {
    /// How many entries it covers.
    pub(super) log_size: u64,
    /// How far into the log it reaches, in bytes.
    pub(super) position: u64,
    /// The base, and the deltas on top of it.
    pub(super) files: Vec<ArchivedFile>,
}

/// A file of a restart checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchivedFile {
    pub(super) name: String,
    pub(super) len: u64,
    pub(super) parts: Vec<Hex32>,
}

/// Fault of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestFault {
    /// It is no JSON, or has other fields.
    #[error("not a manifest, or cut short")]
    Syntax,
    /// It is of another format.
    #[error("is of a format that this version does not read; use a newer stemedb")]
    Format,
    /// It is longer than any.
    #[error("is too long for a manifest")]
    Length,
    /// It is of another log than its name says.
    #[error("is of another log than its name says")]
    OtherLog,
    /// Its parts contradict each other.
    #[error("contradicts itself")]
    Contradiction,
}

/// 32 bytes, as 64 lowercase hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hex32(pub(super) Hash);

impl Serialize for Hex32 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(self.0))
    }
}

impl<'de> Deserialize<'de> for Hex32 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text).map(Self).map_err(|_| D::Error::custom("not 64 lowercase hex digits"))
    }
}

/// 16 bytes, as 32 lowercase hex digits.
mod hex16 {
    use super::{Deserialize, Deserializer, Serializer, hex_of, parse_hex};
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(id: &[u8; 16], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&hex_of(id))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<[u8; 16], D::Error> {
        let text = String::deserialize(from)?;
        parse_hex(&text).ok_or_else(|| D::Error::custom("not 32 lowercase hex digits"))
    }
}

/// 16 bytes as hex digits.
fn hex_of(id: &[u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(*id))
}

fn parse_hex(text: &str) -> Option<[u8; 16]> {
    let id = u128::from_str_radix(text, 16).ok()?.to_be_bytes();
    (hex_of(&id) == text).then_some(id)
}

impl LogName {
    pub(super) fn of(identity: &Identity) -> Self {
        let Identity { store_id, node_id, epoch, generation, .. } = *identity;
        Self { store_id, node_id, epoch, generation }
    }
}

impl fmt::Display for LogName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store_id, node_id, epoch, generation } = self;
        write!(f, "{}-{}-{epoch}-{generation}", hex_of(store_id), hex_of(node_id))
    }
}

/// A text is no name of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no name of an archived log")]
pub struct ParseLogNameError;

impl FromStr for LogName {
    type Err = ParseLogNameError;

    fn from_str(text: &str) -> Result<Self, ParseLogNameError> {
        let parse = || {
            let mut parts = text.split('-');
            let name = Self {
                store_id: parse_hex(parts.next()?)?,
                node_id: parse_hex(parts.next()?)?,
                epoch: parts.next()?.parse().ok()?,
                generation: parts.next()?.parse().ok()?,
            };
            (name.to_string() == text).then_some(name)
        };
        parse().ok_or(ParseLogNameError)
    }
}

impl Manifest {
    pub(super) fn log(&self) -> LogName {
        let Self { store_id, node_id, epoch, generation, .. } = *self;
        LogName { store_id, node_id, epoch, generation }
    }

    /// Reads a manifest, and checks all that can be checked without what it names.
    pub(super) fn parse(bytes: &[u8], log: &LogName) -> Result<Self, ManifestFault> {
        #[derive(Deserialize)]
        struct Front {
            format: String,
        }
        let front: Front = serde_json::from_slice(bytes).map_err(|_| ManifestFault::Syntax)?;
        if front.format != FORMAT {
            return Err(ManifestFault::Format);
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|_| ManifestFault::Syntax)?;
        if manifest.log() != *log {
            return Err(ManifestFault::OtherLog);
        }
        if manifest.is_consistent() { Ok(manifest) } else { Err(ManifestFault::Contradiction) }
    }

    pub(super) fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn is_consistent(&self) -> bool {
        let mut index = 0;
        let mut position = 0;
        for segment in &self.segments {
            let end = segment.first_position.checked_add(segment.len);
            if (segment.first_index, segment.first_position) != (index, position)
                || segment.next_index <= segment.first_index
                || segment.len > SEGMENT_LEN_MAX
                || !has_parts(segment.len, &segment.parts)
            {
                return false;
            }
            let Some(end) = end else { return false };
            (index, position) = (segment.next_index, end);
        }
        let sorted = self.holes.is_sorted_by(|one, next| one < next);
        !self.segments.is_empty()
            && index == self.log_size
            && sorted
            && self.count.checked_add(self.holes.len() as u64) == Some(self.log_size)
            && self.checkpoint.as_ref().is_none_or(|checkpoint| {
                let files = &checkpoint.files;
                checkpoint.log_size <= self.log_size
                    && checkpoint.position <= position.saturating_add(HEADER_LEN as u64)
                    && (1..=CHECKPOINT_FILES_MAX).contains(&files.len())
                    && files.iter().all(ArchivedFile::is_consistent)
                    && names(files).len() == files.len()
            })
    }

    /// How many bytes the segments have together.
    pub(super) fn log_bytes(&self) -> u64 {
        self.segments.last().map_or(0, |last| last.first_position + last.len)
    }

    /// How many bytes all objects have together that it names.
    pub(super) fn bytes(&self) -> u64 {
        let files = self.checkpoint.iter().flat_map(|checkpoint| &checkpoint.files);
        // Seven files of at most 4 TiB.
        self.log_bytes().saturating_add(files.map(|file| file.len).sum::<u64>())
    }

    pub(super) fn hole_ids(&self) -> HashSet<Hash> {
        self.holes.iter().map(|id| id.0).collect()
    }
}

/// The bytes of a manifest, read as one of the log that they name and written again; `None` if
/// they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    let manifest: Manifest = serde_json::from_slice(bytes).ok()?;
    Manifest::parse(bytes, &manifest.log()).ok()?.encode().ok()
}

impl ArchivedFile {
    fn is_consistent(&self) -> bool {
        is_checkpoint_name(&self.name)
            && self.len <= CHECKPOINT_LEN_MAX
            && has_parts(self.len, &self.parts)
    }
}

fn names(files: &[ArchivedFile]) -> HashSet<&str> {
    files.iter().map(|file| file.name.as_str()).collect()
}

/// Whether a file of this length has so many parts.
fn has_parts(len: u64, parts: &[Hex32]) -> bool {
    len > 0 && parts.len() as u64 == len.div_ceil(PART_LEN as u64)
}

/// Whether a name is that of a file of a restart checkpoint, and of nothing else.
pub(super) fn is_checkpoint_name(name: &str) -> bool {
    let digits = name.strip_prefix("base-").or_else(|| name.strip_prefix("delta-"));
    let digits = digits.and_then(|rest| rest.strip_suffix(".ckpt"));
    digits.is_some_and(|digits| {
        digits.len() == 20 && digits.bytes().all(|digit| digit.is_ascii_digit())
    })
}

/// The name of a manifest's object, without that of its log.
pub(super) fn manifest_name(number: u64) -> String {
    format!("manifest-{number:020}.json")
}

/// The number of a manifest, from its name.
pub(super) fn parse_manifest_name(name: &str) -> Option<u64> {
    let number = name.strip_prefix("manifest-")?.strip_suffix(".json")?.parse().ok()?;
    (manifest_name(number) == name).then_some(number)
}

#[cfg(test)]
mod tests;
