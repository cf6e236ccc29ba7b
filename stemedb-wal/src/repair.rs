//! Repair of a damaged log: never done without being asked, and never renumbering.
//!
//! What follows from other bytes is written again: footers, headers of segments and batches, heads
//! of records (see `head`). A record whose entry is known and whose body is lost becomes a *hole*
//! of the same length: no position and no index changes. Where not even the entry is known, nothing
//! can stay in its place: what can be read is copied, with its times and ids, into segments of the
//! next *generation*, and the store gets a new epoch. Nobody wants that unless all copies are lost
//! too, so it is refused until asked for.
//!
//! Nothing is lost to the repair itself. The successor of a segment is written beside it and
//! synced, a copy of the segment is made, and the successor renamed over it; a new generation is
//! complete and synced before the store's identity names it, and only then are the old segments
//! quarantined. After a crash at any point, the log opens as before or as repaired, or asks to be
//! repaired again.

mod candidates;
mod generation;
mod head;
mod heal;
mod identity;
mod plan;
mod replace;
pub(crate) mod salvage;

use std::{fmt, path::PathBuf, sync::Arc};

use stemedb_merkle::{Hash, LogIndex, Timestamp, id::to_hex};

pub use self::{
    heal::{Heal, Rewritten},
    identity::{FindIdentity, FoundIdentity, IdentityChange, find_identity},
};

use self::plan::{Plan, SegmentPlan, make_plan};
use crate::{
    disk::Disk,
    error::{AppendError, Damage, DiskError},
    files,
    identity::{Identity, IdentityError},
    log::{LogOptions, Watermark},
    position::Position,
    record::Kind,
    remote::LogDir,
};

/// Computes the id of a body.
pub(crate) type HashBody<'a> = &'a dyn HashBodies;

/// A way to compute ids.
pub trait HashBodies {
    /// The id of a body.
    fn id(&self, body: &[u8]) -> Hash;

    /// Appends the id of each body.
    fn ids(&self, bodies: &[&[u8]], ids: &mut Vec<Hash>) {
        ids.extend(bodies.iter().map(|body| self.id(body)));
    }
}

impl<F: Fn(&[u8]) -> Hash> HashBodies for F {
    fn id(&self, body: &[u8]) -> Hash {
        self(body)
    }
}

/// Why a log could not be repaired. It is as it was, or asks to be repaired again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),

    /// The identity could not be saved.
    #[error(transparent)]
    Identity(#[from] IdentityError),

    /// The new generation could not be written.
    #[error("cannot write the new generation: {0}")]
    Write(#[from] AppendError),

    /// A segment of a format that this build does not know.
    #[error("{}: format version {version}: use a newer stemedb to repair it", path.display())]
    Version {
        /// The segment.
        path: PathBuf,
        /// The version that it says.
        version: u32,
    },

    /// What is kept here of a segment that is in the archive is damaged: only its copy helps.
    #[error("{0}")]
    Stub(Damage),

    /// Entries are lost, so all others have to be copied; and the archive, where the bodies of this
    /// segment are, has others than were sent there.
    #[error(
        "{}: damaged in the archive, and the entries of the log cannot be copied without it: \
         verify the archive to see all that is damaged",
        path.display()
    )]
    Archive {
        /// The segment.
        path: PathBuf,
    },

    /// All segments that are left are in the archive, so those behind them are gone.
    #[error(
        "{}: missing, and all before it is in the archive: put it back from a copy, or restore \
         the store from its archive or a backup",
        path.display()
    )]
    Behind {
        /// The segment that should be there.
        path: PathBuf,
    },

    /// Entries would be lost, and nobody said that they may. Nothing was changed.
    #[error(
        "entries are lost{}: put the files back from a copy and repair again, or accept the loss \
         and go on without these entries",
        at_least_entries(*at_least)
    )]
    Loss {
        /// How many entries, at least.
        at_least: u64,
        /// What is wrong, in the order of the log.
        found: Vec<Damage>,
    },

    /// The disk gives other bytes than a moment before.
    #[error(
        "{}: the disk returns other bytes each time it is read: replace the disk",
        path.display()
    )]
    Changed {
        /// The segment.
        path: PathBuf,
    },

    /// There have been 2^32 generations or 2^64 epochs.
    #[error("the store has no generations left")]
    Exhausted,
}

fn at_least_entries(count: u64) -> String {
    if count == 0 { String::new() } else { format!(", {count} at least") }
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// What was wrong, in the order of the log.
    pub found: Vec<Damage>,
    /// What was done.
    pub actions: Vec<RepairAction>,
    /// The generation that was begun, if entries were lost.
    pub new_generation: Option<u32>,
    /// How many entries were lost, at least; `None` if none.
    pub lost_entries: Option<u64>,
    /// The ids whose bodies were lost, in the order of the log.
    pub lost_bodies: Vec<Hash>,
}

/// Something that a repair did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairAction {
    /// A segment was written again with what follows from the rest, and with holes.
    Rewritten {
        /// The segment.
        path: PathBuf,
        /// Where a copy of what it was is.
        kept: PathBuf,
    },
    /// A body is lost. Its entry keeps index, time and id.
    Hole {
        /// The index of the entry, now.
        index: LogIndex,
        /// Its time.
        time: Timestamp,
        /// Its id.
        id: Hash,
    },
    /// Something that does not belong here, or was replaced, was renamed.
    Quarantined {
        /// What it was.
        path: PathBuf,
        /// What it is.
        kept: PathBuf,
    },
    /// A segment has its own name again.
    Renamed {
        /// The name that it had.
        from: PathBuf,
        /// The name that it has now.
        to: PathBuf,
    },
    /// Entries are lost. The others were copied into a new generation, and later ones have other
    /// indexes now.
    Copied {
        /// How many entries there are now.
        entries: u64,
    },
    /// A mark up to which the log was durable said more than there is; no entry is missing.
    MarkLowered,
}

impl fmt::Display for RepairAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rewritten { path, kept } => {
                write!(f, "{}: written again; what it was is in {}", path.display(), kept.display())
            }
            Self::Hole { index, id, .. } => write!(
                f,
                "entry {index}: the body of {} is lost; append the same bytes to fill the hole",
                to_hex(id)
            ),
            Self::Quarantined { path, kept } => {
                write!(f, "{}: is now {}", path.display(), kept.display())
            }
            Self::Renamed { from, to } => {
                write!(f, "{}: is {}, and has that name again", from.display(), to.display())
            }
            Self::Copied { entries } => write!(
                f,
                "entries are lost for good; the {entries} that could be read were copied into a \
                 new generation, and a new epoch begins"
            ),
            Self::MarkLowered => f.write_str(
                "the end of the last segment is lost, but no entry; the mark of the log's end was \
                 lowered",
            ),
        }
    }
}

stemedb_merkle::options! {
    /// How a log is repaired.
    #[derive(Clone, Copy)]
    pub struct RepairOptions<'a> {
        new {
            /// How a new generation of segments is written.
            pub log: &'a LogOptions,
        }
        /// Computes the id of a body. Without it, bodies are held against their checksums only, and
        /// less can be put together again.
        pub hash: Option<HashBody<'a>> = None,
        /// How far the log is known to have reached, beside the clean mark of its identity: a log
        /// that ends before is damaged.
        pub marks: &'a [Watermark] = &[],
        /// Whether to go on without entries that are lost.
        pub accept_loss: bool = false,
    }
}

impl RepairOptions<'_> {
    fn dir(&self, disk: &Arc<dyn Disk>) -> LogDir {
        LogDir::new(Arc::clone(disk), self.log.source.clone())
    }
}

impl fmt::Debug for RepairOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepairOptions")
            .field("log", self.log)
            .field("hash", &self.hash.is_some())
            .field("marks", &self.marks)
            .field("accept_loss", &self.accept_loss)
            .finish()
    }
}

/// What a repair found, and is going to do. Nothing is changed until it is
/// [applied](Self::apply).
#[derive(Debug)]
pub struct RepairPlan {
    /// What is wrong, in the order of the log.
    pub found: Vec<Damage>,
    /// How many entries would be lost, at least; `None` if none.
    pub lost_entries: Option<u64>,
    /// The ids whose bodies are lost, and were not known to be, in the order of the log.
    pub lost_bodies: Vec<Hash>,
    /// All holes and heals of the log, in its order, as they are after the repair.
    pub gaps: Vec<GapRecord>,
    plan: Plan,
}

/// A record that says of an entry that its body is lost, or brings it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapRecord {
    /// Where it is.
    pub position: Position,
    /// [`Kind::Hole`] or [`Kind::Heal`].
    pub kind: Kind,
    /// The id of the body.
    pub id: Hash,
}

impl RepairPlan {
    /// Reads a whole log, and finds out what is wrong with it and what can be done about it. The
    /// caller holds the lock of the directory, and the store is not open. `progress` hears of bytes
    /// read. A torn tail is nothing to repair: opening takes care of that.
    ///
    /// O(bytes) time, and memory for one segment.
    ///
    /// # Errors
    ///
    /// See [`RepairError`].
    pub fn new(
        disk: &Arc<dyn Disk>,
        identity: &Identity,
        options: &RepairOptions<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Self, RepairError> {
        let disk = &options.dir(disk);
        let plan = make_plan(disk, identity, options, progress)?;
        let gaps = plan.gaps.iter().filter(|gap| gap.kind != Kind::Void).map(|gap| GapRecord {
            position: Position(gap.position),
            kind: gap.kind,
            id: gap.head.id,
        });
        Ok(Self {
            found: plan.found(&**disk),
            lost_entries: plan.lost.then(|| plan.lost_entries()),
            lost_bodies: plan.lost_bodies.iter().map(|head| head.id).collect(),
            gaps: gaps.collect(),
            plan,
        })
    }

    /// Whether there is something to do.
    pub fn changes(&self) -> bool {
        let misnamed = |segment: &SegmentPlan| segment.name != segment.proper_name();
        let plan = &self.plan;
        !self.found.is_empty()
            || plan.lost
            || !plan.strays.is_empty()
            || plan.segments.iter().any(misnamed)
            || plan.marked.position > plan.end.position
    }

    /// Does what is to be done. Each step leaves a log that opens, or asks to be repaired again.
    ///
    /// # Errors
    ///
    /// [`RepairError::Loss`], with nothing changed, where entries would be lost and that was not
    /// [accepted](RepairOptions::accept_loss); and if the disk fails.
    pub fn apply(
        self,
        disk: &Arc<dyn Disk>,
        identity: &mut Identity,
        options: &RepairOptions<'_>,
    ) -> Result<RepairReport, RepairError> {
        let disk = &options.dir(disk);
        let changes = self.changes();
        let Self { found, lost_entries, lost_bodies, mut plan, .. } = self;
        if let Some(at_least) = lost_entries.filter(|_| !options.accept_loss) {
            return Err(RepairError::Loss { at_least, found });
        }
        let mut report =
            RepairReport { found, lost_entries, lost_bodies, ..RepairReport::default() };
        if changes {
            candidates::remove_leftovers(disk)?;
        }
        // First, so that none of them is in the way of a segment of this log.
        for name in std::mem::take(&mut plan.strays) {
            quarantine(disk, &name, &mut report)?;
            files::sync_dir(&**disk)?;
        }
        if plan.lost {
            generation::begin(disk, identity, options, &plan, &mut report)?;
        } else {
            for (from, to) in replace::put_names_right(disk, &mut plan.segments)? {
                let (from, to) = (disk.path(&from), disk.path(&to));
                report.actions.push(RepairAction::Renamed { from, to });
            }
            repair_in_place(disk, identity, &plan, options, &mut report)?;
        }
        Ok(report)
    }
}

/// Repairs each segment that needs it.
fn repair_in_place(
    disk: &LogDir,
    identity: &mut Identity,
    plan: &Plan,
    options: &RepairOptions<'_>,
    report: &mut RepairReport,
) -> Result<(), RepairError> {
    for segment in plan.segments.iter().filter(|segment| segment.is_broken()) {
        let path = disk.path(&segment.name);
        // It could be repaired when the plan was made.
        let repaired = segment.repaired(disk, options.hash)?;
        let repaired = repaired.ok_or_else(|| RepairError::Changed { path: path.clone() })?;
        let kept = disk.path(&replace::replace(&**disk, &segment.name, &repaired)?);
        report.actions.push(RepairAction::Rewritten { path, kept });
        report.actions.extend(repaired.holes.into_iter().map(|head| RepairAction::Hole {
            index: LogIndex(head.index),
            time: Timestamp::from_ntp64(head.time),
            id: head.id,
        }));
    }
    let clean = identity.clean;
    if clean.is_some_and(|clean| clean.position > plan.end.position) {
        identity.clean = Some(plan.end);
        identity.save(&**disk)?;
        report.actions.push(RepairAction::MarkLowered);
    } else if plan.marked.position > plan.end.position {
        // That of a restart checkpoint, which the caller quarantines.
        report.actions.push(RepairAction::MarkLowered);
    }
    Ok(())
}

fn quarantine(disk: &LogDir, name: &str, report: &mut RepairReport) -> Result<(), DiskError> {
    let kept = disk.path(&files::quarantine_segment(disk, name)?);
    report.actions.push(RepairAction::Quarantined { path: disk.path(name), kept });
    Ok(())
}

impl Plan {
    fn found(&self, disk: &dyn Disk) -> Vec<Damage> {
        let all = self.segments.iter().flat_map(|segment| {
            segment.wrong.iter().map(|wrong| Damage {
                path: disk.path(&segment.name),
                offset: wrong.offset,
                index: LogIndex(wrong.index),
                what: wrong.what,
            })
        });
        let mut all: Vec<Damage> = all.chain(self.missing.iter().cloned()).collect();
        // Both parts are in the order of the log already.
        all.sort_by_key(|damage| damage.index);
        all
    }
}
