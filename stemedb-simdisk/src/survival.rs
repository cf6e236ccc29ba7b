//! What of the unsynced a power cut leaves.

use super::{
    random::Random,
    volume::{Change, ChangeKind, File, SECTOR, Volume, write_within},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};
use stemedb_wal::disk::{SECTOR_LEN, pages::Pages};

/// What a power cut leaves of what was not synced.
///
/// Every mode leaves a state that the [module](stemedb_wal::disk) allows; with many seeds,
/// `Sectors` reaches most of them, and the others the ones that recoveries tend to get wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Survival {
    /// Nothing: only what was synced is there.
    Nothing,
    /// Everything, as after the death of the process alone.
    Everything,
    /// Every name, no bytes: files that were renamed into place before they were synced.
    Names,
    /// All bytes, no names: as if the directory were never written.
    Contents,
    /// All that was done up to some moment, across all files and names.
    Prefix,
    /// As `Prefix`, but of the next write some first sectors are there too.
    Torn,
    /// Each sector, each length and the names for themselves, whatever their order was.
    Sectors,
    /// New lengths without the new bytes, which are zeros or what was there; names up to a moment.
    ZeroFilled,
}

impl Survival {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Nothing,
        Self::Everything,
        Self::Names,
        Self::Contents,
        Self::Prefix,
        Self::Torn,
        Self::Sectors,
        Self::ZeroFilled,
    ];
}

impl Volume {
    /// The volume as the next boot finds it.
    pub(super) fn after_power_cut(&self, mode: Survival, random: &mut Random) -> io::Result<Self> {
        let numbers: Vec<u64> = self.unsynced();
        let first_lost = || numbers.last().map_or(0, |last| last + 1);
        let any_moment = |random: &mut Random| {
            let at = random.up_to(numbers.len() as u64);
            usize::try_from(at)
                .ok()
                .and_then(|at| numbers.get(at).copied())
                .unwrap_or_else(first_lost)
        };
        let moment = any_moment(random);
        let names_until = match mode {
            Survival::Nothing | Survival::Contents => 0,
            Survival::Everything | Survival::Names => first_lost(),
            Survival::Prefix | Survival::Torn => moment,
            Survival::Sectors | Survival::ZeroFilled => any_moment(random),
        };

        let mut names = Arc::clone(&self.durable_names);
        for change in self.renames.iter().filter(|change| change.number < names_until) {
            change.kind.apply(Arc::make_mut(&mut names));
        }
        let mut after = Self { names, ..self.clone() };
        after.sync_dir();
        after.collect(|_| false);
        for file in after.files.values_mut() {
            if file.pending.is_empty() && file.rewrite_needed.is_empty() && file.is_settled() {
                continue;
            }
            let contents = match mode {
                Survival::Nothing | Survival::Names => file.durable.clone(),
                Survival::Everything | Survival::Contents => file.live.clone(),
                Survival::Prefix => file.until(moment, false, random)?,
                Survival::Torn => file.until(moment, true, random)?,
                Survival::Sectors => file.sector_by_sector(random)?,
                Survival::ZeroFilled => file.zero_filled()?,
            };
            Arc::make_mut(file).settle(contents);
        }
        Ok(after)
    }

    /// The numbers of all changes that are not durable, in order.
    fn unsynced(&self) -> Vec<u64> {
        let contents = self.files.values().flat_map(|file| &file.pending);
        let mut numbers: Vec<u64> = contents
            .map(|change| change.number)
            .chain(self.renames.iter().map(|change| change.number))
            .collect();
        numbers.sort_unstable();
        numbers
    }
}

impl File {
    /// All changes before `moment`; of the one at `moment`, if `torn`, some first sectors.
    fn until(&self, moment: u64, torn: bool, random: &mut Random) -> io::Result<Pages> {
        let done = self.pending.iter().take_while(|change| change.number < moment);
        let mut changes: Vec<ChangeKind> = done.map(|change| change.kind.clone()).collect();
        let next = self.pending.get(changes.len()).filter(|next| torn && next.number == moment);
        if let Some(ChangeKind::Write { offset, bytes }) = next.map(|next| &next.kind) {
            let sectors = offset / SECTOR..(offset + bytes.len() as u64).div_ceil(SECTOR);
            let cut = (sectors.start + random.up_to(sectors.end - sectors.start)) * SECTOR;
            let kept = usize::try_from(cut.saturating_sub(*offset)).unwrap_or(usize::MAX);
            let bytes = bytes.get(..kept).unwrap_or(bytes).into();
            changes.push(ChangeKind::Write { offset: *offset, bytes });
        }

        let mut pages = self.durable.clone();
        if !self.rewrite_needed.is_empty() {
            pages.set_len(self.durable.len().max(self.live.len()))?;
            let written: BTreeSet<u64> = changes.iter().flat_map(ChangeKind::sectors).collect();
            self.add_rewrite_needed(&mut pages, random, |sector| written.contains(&sector))?;
        }
        for change in &changes {
            match change {
                ChangeKind::SetLen { from, to } => {
                    // The length may be another than it was then: what is grown over is zeros.
                    pages.set_len(*from.min(to))?;
                    pages.set_len(*to)?;
                }
                ChangeKind::Write { offset, bytes } => pages.write_at(bytes, *offset)?,
            }
        }
        if !self.rewrite_needed.is_empty() {
            // The length went with the failed sync: any will do.
            pages.set_len(self.any_len(random))?;
        }
        Ok(pages)
    }

    /// Each sector as it was after any of the changes since the last sync, or before all of them.
    fn sector_by_sector(&self, random: &mut Random) -> io::Result<Pages> {
        let mut pages = self.durable.clone();
        let ends = self.pending.iter().map(|change| match &change.kind {
            ChangeKind::Write { offset, bytes } => offset + bytes.len() as u64,
            ChangeKind::SetLen { to, .. } => *to,
        });
        let longest = ends.max().unwrap_or(0).max(self.live.len()).max(self.durable.len());
        pages.set_len(longest)?;
        let kept = self.kept_changes(random);
        let is_written = |place: usize, change: &Change, sector: u64| {
            change.kind.sectors().contains(&sector)
                && kept.get(&sector).is_some_and(|kept| place < *kept)
        };
        self.add_rewrite_needed(&mut pages, random, |sector| {
            self.pending.iter().enumerate().any(|(place, change)| is_written(place, change, sector))
        })?;
        for (place, change) in self.pending.iter().enumerate() {
            for sector in change.kind.sectors() {
                if kept.get(&sector).is_some_and(|kept| place < *kept) {
                    apply_to_sector(&change.kind, sector, &mut pages)?;
                }
            }
        }
        pages.set_len(self.any_len(random))?;
        Ok(pages)
    }

    /// For each sector, how many of the changes it has seen.
    fn kept_changes(&self, random: &mut Random) -> BTreeMap<u64, usize> {
        let mut kept = BTreeMap::new();
        for sector in self.pending.iter().flat_map(|change| change.kind.sectors()) {
            kept.entry(sector).or_insert_with(|| match random.up_to(4) {
                0 | 1 => 0,
                2 | 3 => self.pending.len(),
                _ => usize::try_from(random.up_to(self.pending.len() as u64)).unwrap_or(0),
            });
        }
        kept
    }

    /// The new length, and none of the bytes.
    fn zero_filled(&self) -> io::Result<Pages> {
        let mut pages = self.durable.clone();
        pages.set_len(self.live.len())?;
        Ok(pages)
    }

    /// Adds the sectors that a failed sync left unknown: those that were written again on top of
    /// what they held, and any of the others.
    fn add_rewrite_needed(
        &self,
        pages: &mut Pages,
        random: &mut Random,
        is_written: impl Fn(u64) -> bool,
    ) -> io::Result<()> {
        for (sector, bytes) in &self.rewrite_needed {
            if is_written(*sector) || random.coin() {
                write_within(pages, bytes, sector * SECTOR)?;
            }
        }
        Ok(())
    }

    /// The old length, the new one, or any between.
    fn any_len(&self, random: &mut Random) -> u64 {
        let (old, new) = (self.durable.len(), self.live.len());
        match random.up_to(2) {
            0 => old,
            1 => new,
            _ => old.min(new) + random.up_to(old.abs_diff(new)),
        }
    }

    /// Whether the live and the durable length agree where nothing is pending any more.
    fn is_settled(&self) -> bool {
        self.live.len() == self.durable.len()
    }
}

/// Does to one sector what the change does to it.
fn apply_to_sector(change: &ChangeKind, sector: u64, pages: &mut Pages) -> io::Result<()> {
    let (start, end) = (sector * SECTOR, (sector + 1) * SECTOR);
    match change {
        ChangeKind::Write { offset, bytes } => {
            let skipped = usize::try_from(start.saturating_sub(*offset)).unwrap_or(usize::MAX);
            let until = usize::try_from(end.saturating_sub(*offset)).unwrap_or(usize::MAX);
            let part = bytes.get(skipped..until.min(bytes.len())).unwrap_or_default();
            pages.write_at(part, start.max(*offset))
        }
        ChangeKind::SetLen { from, to } => {
            let from = start.max(*from.min(to));
            let len = usize::try_from(end.saturating_sub(from)).unwrap_or(0);
            write_within(pages, [0; SECTOR_LEN].get(..len).unwrap_or_default(), from)
        }
    }
}
