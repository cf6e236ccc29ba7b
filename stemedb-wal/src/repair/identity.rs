//! The identity of a store, where its file is lost, damaged, or older than the log.
//!
//! One flipped bit is found by the checksum: no other bit would make it right, nor would any one
//! bit if up to three were flipped, as the checksum tells apart files of this length that differ in
//! four bits. Of more damage, and of a file that is gone, the segments tell which store and which
//! generation it is. Node and epoch are new then, as nothing else tells them, and so is what salts
//! are derived from: the segments hold their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    sync::Arc,
};

use super::{
    HashBody, RepairError,
    candidates::{self, Candidate},
    plan::read_segment,
};
use crate::{
    disk::{Disk, Fingerprint},
    files,
    identity::{IDENTITY_LEN, IDENTITY_NAME, Identity, IdentityError, SecretError},
    remote::LogDir,
    scan::{Scanner, sectors::is_unreadable},
    segment::{HEADER_LEN, SegmentHeader, parse_segment_name, segment_salt},
};

/// So many bodies are held against their ids to tell whether a store has a secret, and which.
const BODIES_ASKED: usize = 16;

/// Epochs above this in a damaged file are damage.
const EPOCH_MAX: u64 = 1 << 32;

/// What finding an identity needs.
#[derive(Clone, Copy)]
pub struct FindIdentity<'a> {
    /// That of the lock.
    pub fingerprint: Fingerprint,
    /// Computes the ids of a store without a secret.
    pub plain: HashBody<'a>,
    /// The secret that was given, and what computes ids with it.
    pub keyed: Option<(&'a [u8], HashBody<'a>)>,
    /// Where random bytes come from.
    pub entropy: fn(&mut [u8]) -> io::Result<()>,
}

impl fmt::Debug for FindIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FindIdentity")
            .field("fingerprint", &self.fingerprint)
            .field("keyed", &self.keyed.is_some())
            .finish_non_exhaustive()
    }
}

/// An identity, which is not saved.
#[derive(Clone, Debug)]
pub struct FoundIdentity {
    /// The identity.
    pub identity: Identity,
    /// How it differs from the file; `None` if it is what the file says.
    pub change: Option<IdentityChange>,
}

/// How an identity differs from its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentityChange {
    /// One bit was another one.
    Corrected,
    /// The file is older than the log.
    Generation {
        /// The generation that the file says.
        said: u32,
        /// That of the segments.
        found: u32,
    },
    /// The file is missing or damaged, and was made again from the segments.
    Rebuilt {
        /// Whether there was no file at all.
        missing: bool,
    },
}

impl fmt::Display for IdentityChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrected => f.write_str("IDENTITY: one bit is damaged; it is written again"),
            Self::Generation { said, found } => write!(
                f,
                "IDENTITY: says that generation {said} of the segments is live, and those that \
                 are there are of generation {found}; it is written again with a new epoch"
            ),
            Self::Rebuilt { missing } => write!(
                f,
                "IDENTITY: {}; it is made again from the segments, with a new node id and epoch, \
                 and does not tell any more where the log ended when it was last closed",
                if *missing { "missing" } else { "damaged" }
            ),
        }
    }
}

/// Finds the identity of a store. Nothing is changed. The caller holds the lock of the directory.
///
/// # Errors
///
/// If the segments do not tell it, the secret is another one, or the disk fails.
pub fn find_identity(
    disk: &Arc<dyn Disk>,
    find: &FindIdentity<'_>,
) -> Result<FoundIdentity, RepairError> {
    let disk = &LogDir::new(Arc::clone(disk), None);
    let segments = LiveSegments::read(disk)?;
    let (identity, change) = match Identity::load(&**disk) {
        Ok(identity) => (identity, None),
        Err(error) if is_lost(&error) => {
            let bytes = read_identity(&**disk);
            if let Some(identity) = bytes.as_deref().and_then(Identity::corrected) {
                (identity, Some(IdentityChange::Corrected))
            } else {
                let missing = matches!(error, IdentityError::Missing { .. });
                let rebuilt = segments.rebuild(disk, find, bytes.as_deref(), error)?;
                (rebuilt, Some(IdentityChange::Rebuilt { missing }))
            }
        }
        Err(error) => return Err(error.into()),
    };
    let Some(found) = segments.other_generation(&identity) else {
        return Ok(FoundIdentity { identity, change });
    };
    // The mark is that of another log, and the epoch may have been used by it.
    let epoch = identity.epoch.checked_add(2).ok_or(RepairError::Exhausted)?;
    let change = IdentityChange::Generation { said: identity.generation, found };
    let identity = Identity { generation: found, epoch, clean: None, ..identity };
    Ok(FoundIdentity { identity, change: Some(change) })
}

/// Whether an identity has to be made again.
fn is_lost(error: &IdentityError) -> bool {
    match error {
        IdentityError::Damaged { .. } | IdentityError::Missing { .. } => true,
        IdentityError::Io { source, .. } => is_unreadable(source),
        _ => false,
    }
}

/// The bytes of a damaged identity file; `None` if the disk does not give them.
fn read_identity(disk: &dyn Disk) -> Option<Vec<u8>> {
    let file = disk.open(IDENTITY_NAME).ok()?;
    let mut bytes = vec![0; IDENTITY_LEN + 1];
    let read = file.read_at(&mut bytes, 0).ok()?;
    bytes.truncate(read);
    Some(bytes)
}

/// Segments whose headers are whole, by store and generation, in order.
struct LiveSegments {
    found: BTreeMap<([u8; 16], u32), Vec<LiveSegment>>,
    /// The generations that names of files say, whatever is in them.
    named: BTreeSet<u32>,
}

/// A segment whose header is whole.
struct LiveSegment {
    name: String,
    header: SegmentHeader,
    /// Whether its bodies are only in an archive.
    remote: bool,
}

impl LiveSegments {
    fn read(disk: &LogDir) -> Result<Self, RepairError> {
        let names = files::list_segments(disk)?;
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut generations = BTreeSet::new();
        for name in names {
            let Some((generation, _)) = parse_segment_name(&name) else { continue };
            generations.insert(generation);
            // What is wrong with one is told when the log is read.
            let Ok(candidate) = candidates::read_candidate(disk, name) else { continue };
            let Some(header) = candidate.header else { continue };
            let of = (header.store_id, header.generation);
            let Candidate { name, remote, .. } = candidate;
            found.entry(of).or_default().push(LiveSegment { name, header, remote });
        }
        for segments in found.values_mut() {
            segments.sort_by_key(|segment| segment.header.first_index);
        }
        Ok(Self { found, named: generations })
    }

    /// The generation that is there, if it is not the one that the identity says: of several the
    /// first that has its first segment, as a repair writes the next one beside it.
    fn other_generation(&self, identity: &Identity) -> Option<u32> {
        if self.named.contains(&identity.generation) {
            return None;
        }
        let of_store = || self.found.iter().filter(|((store, _), _)| *store == identity.store_id);
        let whole = of_store().find(|(_, segments)| begins_at_0(segments));
        whole.or_else(|| of_store().next()).map(|((_, generation), _)| *generation)
    }

    /// Makes an identity from the headers, and from what of a damaged file agrees with them.
    fn rebuild(
        &self,
        disk: &LogDir,
        find: &FindIdentity<'_>,
        file: Option<&[u8]>,
        error: IdentityError,
    ) -> Result<Identity, RepairError> {
        let file = file.filter(|bytes| bytes.len() == IDENTITY_LEN);
        let field =
            |at: usize| file.and_then(|bytes| bytes.get(at..)?.first_chunk::<16>().copied());
        let said = field(16);
        // The store that the file says, else the one with the most segments.
        let live = self.found.iter().max_by_key(|((store, generation), segments)| {
            let rank = (Some(*store) == said, begins_at_0(segments), segments.len());
            (rank, std::cmp::Reverse(*generation))
        });
        let Some(((store_id, generation), segments)) = live else { return Err(error.into()) };
        let salt_seed = field(48).filter(|seed| {
            segments.iter().any(|LiveSegment { header, .. }| {
                segment_salt(seed, *generation, header.first_index) == header.salt
            })
        });
        let epoch = field(96).and_then(|bytes| bytes.first_chunk().copied());
        let epoch = epoch.map(u64::from_le_bytes).filter(|epoch| (1..=EPOCH_MAX).contains(epoch));
        let secret_check = secret_check(disk, find, segments)?;
        Ok(Identity {
            store_id: *store_id,
            node_id: crate::identity::draw(find.entropy)?,
            // Of one that is lost it is known only that epochs count from 1.
            epoch: epoch.unwrap_or(1) + 1,
            generation: *generation,
            salt_seed: match salt_seed {
                Some(seed) => seed,
                None => crate::identity::draw(find.entropy)?,
            },
            secret_check,
            fingerprint: find.fingerprint,
            clean: None,
        })
    }
}

fn begins_at_0(segments: &[LiveSegment]) -> bool {
    segments.first().is_some_and(|segment| segment.header.first_index == 0)
}

/// What the identity says of the secret: made again from the secret that was given, if bodies hash
/// to their ids with it; nothing if they do without one.
fn secret_check(
    disk: &LogDir,
    find: &FindIdentity<'_>,
    segments: &[LiveSegment],
) -> Result<Option<[u8; 32]>, RepairError> {
    let wrong = |source| {
        RepairError::from(IdentityError::Secret { path: disk.path(IDENTITY_NAME), source })
    };
    let mut asked = 0;
    for LiveSegment { name, header, .. } in segments.iter().filter(|segment| !segment.remote) {
        let bytes = read_segment(disk, name)?.bytes;
        let mut placed = Vec::new();
        let Some(batches) = bytes.get(HEADER_LEN..) else { continue };
        Scanner::new(header).scan(batches, HEADER_LEN as u64, &mut placed);
        for record in placed.iter().filter(|record| record.kind.has_body()) {
            let body = record.body_in(&bytes, header.first_position);
            asked += 1;
            match find.keyed {
                _ if find.plain.id(body) == record.id => {
                    return match find.keyed {
                        None => Ok(None),
                        Some(_) => Err(wrong(SecretError::Unexpected)),
                    };
                }
                Some((secret, keyed)) if keyed.id(body) == record.id => {
                    return Ok(Some(crate::identity::check_of(secret)));
                }
                _ => {}
            }
            if asked >= BODIES_ASKED {
                break;
            }
        }
        if asked >= BODIES_ASKED {
            break;
        }
    }
    match find.keyed {
        _ if asked > 0 && find.keyed.is_none() => Err(wrong(SecretError::Missing)),
        _ if asked > 0 => Err(wrong(SecretError::Wrong)),
        // There is no body to ask.
        keyed => Ok(keyed.map(|(secret, _)| crate::identity::check_of(secret))),
    }
}
