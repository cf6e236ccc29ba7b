//! Files that can be segments of a log, and the names that they should have.

use std::collections::BTreeMap;

use super::RepairError;
use crate::{
    disk::is_quarantined,
    error::{Action, DiskError},
    files,
    identity::Identity,
    internal::filled,
    log::handles::SegmentBytes,
    remote::LogDir,
    scan::{
        file::{SegmentFile, stub_damage},
        sectors::is_unreadable,
    },
    segment::{HEADER_LEN, HeaderError, SegmentHeader, parse_segment_name},
};

/// A file that seems to be a segment.
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) len: u64,
    /// `None` if it is damaged.
    pub(crate) header: Option<SegmentHeader>,
    /// Whether its bodies are only in an archive.
    pub(crate) remote: bool,
}

/// All files that can be segments of this generation, by first index. Never an empty group.
pub(crate) fn find(
    disk: &LogDir,
    identity: &Identity,
    strays: &mut Vec<String>,
) -> Result<BTreeMap<u64, Vec<Candidate>>, RepairError> {
    let names = files::list_segments(disk)?;
    let mut groups: BTreeMap<u64, Vec<Candidate>> = BTreeMap::new();
    for name in names {
        let Some((generation, named_index)) = parse_segment_name(&name) else { continue };
        let candidate = match read_candidate(disk, name.clone()) {
            Err(_) if generation != identity.generation => {
                strays.push(name);
                continue;
            }
            candidate => candidate?,
        };
        let ours = candidate.header.map_or(generation == identity.generation, |header| {
            header.store_id == identity.store_id && header.generation == identity.generation
        });
        if !ours {
            strays.push(candidate.name);
            continue;
        }
        let first_index = candidate.header.map_or(named_index, |header| header.first_index);
        groups.entry(first_index).or_default().push(candidate);
    }
    Ok(groups)
}

/// Removes what repairs and heals that were cut short have left of files in the making.
pub(crate) fn remove_leftovers(disk: &LogDir) -> Result<(), DiskError> {
    for name in files::list(&**disk)? {
        let made_here = |of: &str| parse_segment_name(of).is_some() || is_quarantined(of);
        if name.strip_suffix(".tmp").is_some_and(made_here) {
            files::remove(&**disk, &name)?;
        }
    }
    Ok(())
}

/// Reads the header of a file that is named like a segment.
pub(crate) fn read_candidate(disk: &LogDir, name: String) -> Result<Candidate, RepairError> {
    let opened =
        disk.open_segment(&name).map_err(|source| match stub_damage(&**disk, &name, &source) {
            Some(damage) => RepairError::Stub(damage),
            None => files::failed(&**disk, Action::Open, &name, source).into(),
        })?;
    let opened = SegmentBytes::Open(opened);
    let file = SegmentFile { disk: &**disk, name: &name, file: &opened };
    let len = file.len()?;
    let mut bytes = [0; HEADER_LEN];
    let read = match file.read_at(&mut bytes, 0) {
        Err(error) if is_unreadable(&error.cause) => 0,
        read => read?,
    };
    let header = match SegmentHeader::parse(filled(&bytes, read)) {
        Ok(header) => Some(header),
        Err(HeaderError::Damaged) => None,
        Err(HeaderError::Version(version)) => {
            return Err(RepairError::Version { path: disk.path(&name), version });
        }
    };
    let remote = file.is_remote()?;
    Ok(Candidate { name, len, header, remote })
}
