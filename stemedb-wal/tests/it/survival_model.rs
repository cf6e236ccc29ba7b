//! The faulty disk against a plain model of the rules: after random histories with failing syncs,
//! every sector that a cut leaves is one that the rules allow.

use std::{collections::BTreeSet, io::ErrorKind};
use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Survival, Target};
use stemedb_wal::disk::{Disk, DiskFile, SECTOR_LEN};

const HISTORIES: u64 = 300;
const STEPS: u64 = 25;
const SECTORS: usize = 12;

/// For each sector, all that it may hold, written so that it follows the rules word for word.
struct Model {
    live: Vec<u8>,
    allowed: Vec<BTreeSet<Vec<u8>>>,
    /// Sectors written since the last sync, failed or not.
    dirty: BTreeSet<usize>,
    lengths: (usize, usize),
}

impl Model {
    fn new() -> Self {
        let allowed = vec![BTreeSet::from([vec![0; SECTOR_LEN]]); SECTORS];
        Self { live: Vec::new(), allowed, dirty: BTreeSet::new(), lengths: (0, 0) }
    }

    fn sector(&self, number: usize) -> Vec<u8> {
        let start = (number * SECTOR_LEN).min(self.live.len());
        let end = ((number + 1) * SECTOR_LEN).min(self.live.len());
        let mut sector = self.live[start..end].to_vec();
        sector.resize(SECTOR_LEN, 0);
        sector
    }

    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        self.live.resize(self.live.len().max(end), 0);
        self.live[offset..end].copy_from_slice(bytes);
        self.touch(offset / SECTOR_LEN..end.div_ceil(SECTOR_LEN));
    }

    fn set_len(&mut self, len: usize) {
        let old = self.live.len();
        self.live.resize(len, 0);
        self.touch(len.min(old) / SECTOR_LEN..old.max(len).div_ceil(SECTOR_LEN));
    }

    fn touch(&mut self, sectors: std::ops::Range<usize>) {
        for number in sectors {
            let sector = self.sector(number);
            self.allowed[number].insert(sector);
            self.dirty.insert(number);
        }
        let len = self.live.len();
        self.lengths = (self.lengths.0.min(len), self.lengths.1.max(len));
    }

    fn sync(&mut self, works: bool) {
        for number in std::mem::take(&mut self.dirty) {
            if works {
                self.allowed[number] = BTreeSet::from([self.sector(number)]);
            }
        }
        if works {
            let len = self.live.len();
            self.lengths = (len, len);
            // Behind an end that is durable there are zeros, whichever the bytes before it are.
            if let Some(last) = self.allowed.get_mut(len / SECTOR_LEN) {
                let mut cut: Vec<Vec<u8>> = last.iter().cloned().collect();
                for sector in &mut cut {
                    sector[len % SECTOR_LEN..].fill(0);
                }
                last.extend(cut);
            }
        }
    }

    /// Whether a file of these bytes is one that a cut may leave.
    fn allows(&self, bytes: &[u8]) -> bool {
        let (shortest, longest) = self.lengths;
        (shortest..=longest).contains(&bytes.len())
            && bytes.chunks(SECTOR_LEN).enumerate().all(|(number, sector)| {
                self.allowed[number].iter().any(|allowed| allowed.starts_with(sector))
            })
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % count
    }

    fn size(&mut self, count: usize) -> usize {
        usize::try_from(self.below(count as u64)).unwrap()
    }
}

fn step(disk: &FaultyDisk, file: &dyn DiskFile, model: &mut Model, random: &mut Random) {
    match random.below(8) {
        0..4 => {
            let len = 1 + random.size(3 * SECTOR_LEN);
            let offset = random.size(SECTORS * SECTOR_LEN - len);
            let bytes = vec![u8::try_from(1 + random.below(255)).unwrap(); len];
            file.write_at(&bytes, offset as u64).unwrap();
            model.write(&bytes, offset);
        }
        4 => {
            let len = random.size(SECTORS * SECTOR_LEN);
            file.set_len(len as u64).unwrap();
            model.set_len(len);
        }
        5 | 6 => {
            file.sync().unwrap();
            model.sync(true);
        }
        _ => {
            let target = Target::Only(Operation::Sync);
            let (error, kind) = (ErrorKind::Other, FaultKind::Failed);
            disk.inject(Fault { target, after: 0, from_then_on: false, error, kind });
            file.sync().unwrap_err();
            disk.clear_faults();
            model.sync(false);
        }
    }
}

/// Runs histories and cuts the power after each step, `model_of` standing between disk and model.
/// Returns how many cuts there were, how many of them lost something, and which broke the rules.
fn cuts(forget_syncs: bool) -> (u64, u64, Vec<String>) {
    let (mut count, mut lossy, mut broken) = (0, 0, Vec::new());
    for seed in 0..HISTORIES {
        let (disk, mut model, mut random) = (FaultyDisk::new(seed), Model::new(), Random(seed));
        let file = disk.create("a").unwrap();
        disk.sync_dir().unwrap();
        for number in 0..STEPS {
            step(&disk, &*file, &mut model, &mut random);
            if forget_syncs {
                // The model of a disk that needs no syncs.
                model.sync(true);
                (0..SECTORS).for_each(|n| model.allowed[n] = BTreeSet::from([model.sector(n)]));
            }
            assert_eq!(disk.contents("a").unwrap(), model.live, "seed {seed} step {number}");
            for mode in Survival::ALL {
                let found = disk.power_cut(mode, seed * STEPS + number).contents("a").unwrap();
                count += 1;
                lossy += u64::from(found != model.live);
                if !model.allows(&found) {
                    broken.push(format!("seed {seed} step {number} {mode:?}"));
                }
            }
        }
    }
    (count, lossy, broken)
}

#[test]
fn every_cut_leaves_what_the_rules_allow() {
    let (count, lossy, broken) = cuts(false);
    assert_eq!(broken, Vec::<String>::new());
    assert!(count == 60_000 && lossy > count / 3, "{lossy} of {count}");
}

/// The control: a model in which nothing is ever lost does not fit this disk.
#[test]
fn a_model_without_losses_does_not_fit() {
    assert!(cuts(true).2.len() > 10_000);
}
