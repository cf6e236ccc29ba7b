//! Repair of a damaged log: never done without being asked, and never renumbering.
//!
//! What follows from other bytes is written again: footers, headers of segments and batches, heads
//! of records (see `head`). A record whose entry is known and whose body is lost becomes a *hole*
//! of the same length: no position and no index changes. Where not even the entry is known, nothing
//! can stay in its place: what can be read is copied, with its times and ids, into segments of the
//! next *generation*, and the store gets a new epoch.
//!
//! Nothing is lost to the repair itself. A segment is first copied aside, then its successor is
//! written beside it, synced, and renamed over it; a new generation is complete and synced before
//! the store's identity names it, and only then are the old segments renamed aside. After a crash
//! at any point, the log opens as before or as repaired, or asks to be repaired again.

mod autopsy;
mod generation;
mod head;
mod heal;
mod plan;
mod scrub;
mod verify;

use std::{fmt, path::PathBuf, sync::Arc};

use stemedb_merkle::{Hash, id::to_hex};

pub use self::{
    heal::{Heal, HealError, Rewritten},
    scrub::{ScrubDamage, ScrubStep, Scrubber},
    verify::Verify,
};

use self::{
    autopsy::Remedy,
    plan::{Plan, SegmentPlan, make_plan},
};
use crate::{
    disk::Disk,
    error::{Action, AppendError, Damage, DiskError},
    identity::{Identity, IdentityError},
    log::{LogOptions, Watermark},
    recovery::{
        mend::{aside_name, set_aside_bytes, sync_dir, write_durably},
        survey::failed,
    },
    segment::parse_segment_name,
};

/// Computes the id of a body.
pub type HashBody<'a> = &'a dyn Fn(&[u8]) -> Hash;

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
        "{}: it is in the archive, and damaged there: nothing is copied until that is put right; \
         `stemedb archive verify` lists what is damaged",
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

    /// There have been 2^32 generations or 2^64 epochs.
    #[error("the store has no generations left")]
    Exhausted,
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
}

/// Something that a repair did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairAction {
    /// A segment was written again with what follows from the rest, and with holes.
    Mended {
        /// The segment.
        path: PathBuf,
        /// Where a copy of what it was is.
        aside: PathBuf,
    },
    /// A body is lost. Its entry keeps index, time and id.
    Hole {
        /// The index of the entry, now.
        index: u64,
        /// Its time.
        time: u64,
        /// Its id.
        id: Hash,
    },
    /// Something that does not belong here, or was replaced, was renamed.
    SetAside {
        /// What it was.
        path: PathBuf,
        /// What it is.
        aside: PathBuf,
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
            Self::Mended { path, aside } => write!(
                f,
                "{}: written again; what it was is in {}",
                path.display(),
                aside.display()
            ),
            Self::Hole { index, id, .. } => write!(
                f,
                "entry {index}: the body of {} is lost; it heals when the same bytes are appended \
                 again",
                to_hex(id)
            ),
            Self::SetAside { path, aside } => {
                write!(f, "{}: is now {}", path.display(), aside.display())
            }
            Self::Copied { entries } => write!(
                f,
                "entries are lost for good; the {entries} that could be read were copied into a \
                 new generation, and a new epoch begins"
            ),
            Self::MarkLowered => f.write_str(
                "the end of the last segment is lost, but no entry; the mark of where it was was \
                 lowered",
            ),
        }
    }
}

/// Repairs a log. The caller holds the lock of the directory, and the store is not open.
///
/// `mark` is how far the log was durable as the newest restart checkpoint says: what lies before is
/// not torn, and entries that are missing there are lost. `hash` computes the id of a body; without it, bodies are held against their checksums only, and
/// less can be put together again. `progress` hears of bytes read. Does nothing to a log that needs
/// no repair, nor to a torn tail: opening takes care of that.
///
/// O(bytes) time, and memory for one segment.
///
/// # Errors
///
/// See [`RepairError`].
pub fn repair(
    disk: &Arc<dyn Disk>,
    identity: &mut Identity,
    mark: Option<Watermark>,
    options: &LogOptions,
    hash: Option<HashBody<'_>>,
    progress: &mut dyn FnMut(u64),
) -> Result<RepairReport, RepairError> {
    let plan = make_plan(&**disk, identity, mark, hash, progress)?;
    let mut report = RepairReport { found: plan.found(&**disk), ..RepairReport::default() };
    if plan.lost || !mend_in_place(&**disk, identity, &plan, hash, &mut report)? {
        report.actions.clear();
        generation::begin(disk, identity, options, &plan, hash, &mut report)?;
    }
    // Under names of what is now the live generation there is now what was just written.
    let live = identity.generation;
    let is_live = |name: &str| parse_segment_name(name).is_some_and(|(of, _)| of == live);
    let renewed = report.new_generation.is_some();
    let strays = plan.strays.iter().filter(|name| !(renewed && is_live(name)));
    for name in strays {
        set_aside(&**disk, name, &mut report)?;
    }
    if !plan.strays.is_empty() {
        sync_dir(&**disk)?;
    }
    Ok(report)
}

/// Mends each segment that needs it. Returns false, before anything was changed, if one cannot be
/// mended after all.
fn mend_in_place(
    disk: &dyn Disk,
    identity: &mut Identity,
    plan: &Plan,
    hash: Option<HashBody<'_>>,
    report: &mut RepairReport,
) -> Result<bool, RepairError> {
    let broken = || plan.segments.iter().filter(|segment| segment.is_broken());
    for segment in broken() {
        if segment.mended(disk, hash)?.is_none() {
            return Ok(false);
        }
    }
    for segment in broken() {
        let Some(mended) = segment.mended(disk, hash)? else { return Ok(false) };
        let name = segment.proper_name();
        let aside = set_aside_bytes(disk, &segment.name, &mended.before)?;
        let temporary = format!("{name}.tmp");
        write_durably(disk, &temporary, &mended.after)?;
        disk.rename(&temporary, &name)
            .map_err(|source| failed(disk, Action::Rename, &temporary, source))?;
        sync_dir(disk)?;
        if name != segment.name {
            disk.remove(&segment.name)
                .map_err(|source| failed(disk, Action::Remove, &segment.name, source))?;
            sync_dir(disk)?;
        }
        report
            .actions
            .push(RepairAction::Mended { path: disk.path(&name), aside: disk.path(&aside) });
        report.actions.extend(mended.holes.into_iter().map(|head| RepairAction::Hole {
            index: head.index,
            time: head.time,
            id: head.id,
        }));
    }
    let clean = identity.clean.map(Watermark::from);
    if clean.is_some_and(|clean| clean.position > plan.end.position) {
        identity.clean = Some(plan.end.into());
        identity.save(disk)?;
        report.actions.push(RepairAction::MarkLowered);
    } else if plan.mark.is_some_and(|mark| mark.position > plan.end.position) {
        // That of a restart checkpoint, which the caller sets aside.
        report.actions.push(RepairAction::MarkLowered);
    }
    Ok(true)
}

fn set_aside(disk: &dyn Disk, name: &str, report: &mut RepairReport) -> Result<(), DiskError> {
    let aside = aside_name(disk, name)?;
    disk.rename(name, &aside).map_err(|source| failed(disk, Action::Rename, name, source))?;
    report.actions.push(RepairAction::SetAside { path: disk.path(name), aside: disk.path(&aside) });
    Ok(())
}

impl Plan {
    fn found(&self, disk: &dyn Disk) -> Vec<Damage> {
        let all = self.segments.iter().flat_map(|segment| {
            segment.wrong.iter().map(|wrong| Damage {
                path: disk.path(&segment.name),
                offset: wrong.offset,
                index: wrong.index,
                what: wrong.what,
            })
        });
        all.collect()
    }
}

impl SegmentPlan {
    fn is_broken(&self) -> bool {
        !self.wrong.is_empty() || self.name != self.proper_name()
    }

    /// Whether some entry is not known any more.
    fn is_lost(&self) -> bool {
        self.wrong.iter().any(|wrong| wrong.remedy == Remedy::NewGeneration)
    }
}
