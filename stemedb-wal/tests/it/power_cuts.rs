//! Power cuts at every write and sync of random histories, in every way that the disk's model
//! allows, also while recovering from the cut before.

use crate::history::{ModelEntry, ORIGIN, body_of, id_of, open};
use std::sync::{Arc, Mutex};

use stemedb_merkle::{LogIndex, Timestamp};
use stemedb_simdisk::{FaultyDisk, Step, Survival, UnsyncedDisk};
use stemedb_wal::{
    disk::Disk,
    error::OpenError,
    log::{Log, LogOptions, NewRecord, Origin, Placed, Spares, Watermark},
    raw::{SegmentHeader, parse_segment_name},
};

/// xorshift64*: the histories follow from their seeds alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }
}

/// What a test knows at some moment of a history.
#[derive(Clone, Default)]
struct Known {
    /// All that was ever written, in order; the first `acknowledged` for sure.
    written: Vec<ModelEntry>,
    acknowledged: usize,
    clean: Option<Watermark>,
    watermark: Option<Watermark>,
}

fn options() -> LogOptions {
    LogOptions::default().segment_len(3000).spares(Spares::None)
}

/// Does random things to a log; `known` is up to date at each of the disk's operations.
fn live(shared: &Arc<dyn Disk>, known: &Mutex<Known>, random: &mut Random, steps: u64) {
    let mut log = None;
    let mut numbers = random.next();
    for _ in 0..steps {
        let open_log = log.get_or_insert_with(|| reopen(shared, known));
        match random.below(20) {
            0 => {
                let clean = log.take().unwrap().close().unwrap();
                known.lock().unwrap().clean = Some(clean);
            }
            1 => log = None,
            2 => open_log.mark().unwrap(),
            3 => {
                open_log.publish();
                known.lock().unwrap().watermark = Some(open_log.durable());
            }
            4..7 => {
                // Several batches, not synced.
                for _ in 0..random.below(4) {
                    append(open_log, known, random, &mut numbers);
                }
            }
            _ => {
                append(open_log, known, random, &mut numbers);
                open_log.sync().unwrap();
                let mut known = known.lock().unwrap();
                known.acknowledged = known.written.len();
            }
        }
    }
}

fn append(log: &mut Log, known: &Mutex<Known>, random: &mut Random, numbers: &mut u64) {
    let bodies: Vec<Vec<u8>> = (0..=random.below(4))
        .map(|_| {
            *numbers = numbers.wrapping_add(1);
            let len = match random.below(10) {
                0 => 0,
                1 => 600 + random.below(3000),
                _ => random.below(300),
            };
            let mut body = body_of(*numbers, usize::try_from(len).unwrap());
            if random.below(8) == 0 {
                body.fill(0);
            }
            body
        })
        .collect();
    let records: Vec<NewRecord<'_>> =
        bodies.iter().map(|body| NewRecord { id: id_of(body), body, heals: None }).collect();
    // What may be found after a cut has to be known before it is written.
    let first = log.next_index();
    let time = log.last_time();
    {
        let mut known = known.lock().unwrap();
        known.written.truncate(usize::try_from(first.get()).unwrap());
        for (n, body) in bodies.iter().enumerate() {
            known.written.push(ModelEntry {
                index: (first + n as u64).get(),
                time: time.as_ntp64() + 1 + n as u64,
                id: id_of(body),
                position: 0,
                body: body.clone(),
            });
        }
    }
    let mut placed: Vec<Placed> = Vec::new();
    log.write(&records, Timestamp::MIN, &mut placed).unwrap();
    let mut known = known.lock().unwrap();
    for placed in placed {
        known.written[usize::try_from(placed.index.get()).unwrap()].position =
            placed.position.get();
    }
}

fn reopen(disk: &Arc<dyn Disk>, known: &Mutex<Known>) -> Log {
    let snapshot = known.lock().unwrap().clone();
    let (log, written) = verify(disk, &snapshot, None).unwrap_or_else(|error| panic!("{error}"));
    let mut known = known.lock().unwrap();
    known.written = written;
    // What recovery serves is durable.
    known.acknowledged = known.written.len();
    log
}

/// Opens, and compares with what is known.
fn verify(
    disk: &Arc<dyn Disk>,
    known: &Known,
    watermark: Option<Watermark>,
) -> Result<(Log, Vec<ModelEntry>), String> {
    let origin = Origin { clean: known.clean, ..ORIGIN };
    let (log, report, replayed) =
        open(disk, &origin, &options(), watermark).map_err(|error| error.to_string())?;
    let from =
        usize::try_from(watermark.map_or(0, |watermark| watermark.next_index.get())).unwrap();
    let count = from + replayed.len();
    if count < known.acknowledged {
        return Err(format!(
            "{} acknowledged, {count} found, {:?}",
            known.acknowledged, report.warnings
        ));
    }
    let mut written = known.written.clone();
    written.truncate(from);
    for (n, found) in replayed.iter().enumerate() {
        let mut expected = known
            .written
            .get(from + n)
            .cloned()
            .ok_or_else(|| format!("entry {} was never written", from + n))?;
        if expected.position == 0 {
            expected.position = found.position;
        }
        if *found != expected {
            return Err(format!("entry {} is not what was written", from + n));
        }
        written.push(found.clone());
    }
    let reader = log.reader();
    for entry in &written {
        let record = reader.read_index(LogIndex(entry.index)).map_err(|error| error.to_string())?;
        if record.body != entry.body || record.entry.time != Timestamp::from_ntp64(entry.time) {
            return Err(format!("entry {} reads as something else", entry.index));
        }
    }
    Ok((log, written))
}

/// Everything that happens to one history. Returns how often the power was cut.
fn simulate(seed: u64, steps: u64, wrap: fn(FaultyDisk) -> Arc<dyn Disk>) -> Result<u64, String> {
    let disk = FaultyDisk::new(seed);
    let known = Arc::new(Mutex::new(Known::default()));
    let moments: Arc<Mutex<Vec<(Step, Known)>>> = Arc::default();
    {
        let (known, moments) = (Arc::clone(&known), Arc::clone(&moments));
        disk.observe(move |moment| {
            let known = known.lock().unwrap().clone();
            moments.lock().unwrap().push((moment, known));
        });
    }
    live(&wrap(disk.clone()), &known, &mut Random(seed | 1), steps);
    disk.stop_observing();
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    let mut cuts = 0;
    for (moment, known) in moments {
        for (n, survival) in Survival::ALL.into_iter().enumerate() {
            let cut_seed = seed ^ moment.number << 8 ^ n as u64;
            let cut = moment.disk.power_cut(survival, cut_seed);
            cuts += 1;
            let context = |error| {
                format!(
                    "seed {seed}, operation {} ({:?} {}), {survival:?}: {error}",
                    moment.number, moment.operation, moment.name
                )
            };
            // The log is opened from the watermark first, on a copy.
            if known.watermark.is_some() && n % 2 == 0 {
                verify(&wrap(cut.fork()), &known, known.watermark).map_err(context)?;
            }
            damage_is_found(&cut, &known, cut_seed).map_err(context)?;
            cuts += verify_with_cuts(&cut, &known, cut_seed, wrap).map_err(context)?;
        }
    }
    Ok(cuts)
}

/// Opens the log, and cuts the power at each operation of that as well, twice over.
fn verify_with_cuts(
    disk: &FaultyDisk,
    known: &Known,
    seed: u64,
    wrap: fn(FaultyDisk) -> Arc<dyn Disk>,
) -> Result<u64, String> {
    let moments: Arc<Mutex<Vec<Step>>> = Arc::default();
    let observed = disk.fork();
    {
        let moments = Arc::clone(&moments);
        observed.observe(move |moment| moments.lock().unwrap().push(moment));
    }
    let (mut log, found) = verify(&wrap(observed.clone()), known, None)?;
    observed.stop_observing();
    let moments = std::mem::take(&mut *moments.lock().unwrap());
    let mut random = Random(seed | 1);
    let count = moments.len() as u64;
    for moment in moments {
        let survival = Survival::ALL[usize::try_from(random.below(8)).unwrap()];
        let cut = moment.disk.power_cut(survival, random.next());
        // Once more in the middle of the second recovery.
        let stop = cut.operations(stemedb_simdisk::Target::Mutating) + random.below(4);
        let again: Arc<Mutex<Option<FaultyDisk>>> = Arc::default();
        {
            let again = Arc::clone(&again);
            cut.observe(move |moment| {
                if moment.number == stop {
                    *again.lock().unwrap() = Some(moment.disk);
                }
            });
        }
        let context = |error| {
            format!("during recovery, at {:?} with {survival:?}: {error}", moment.operation)
        };
        verify(&wrap(cut.clone()), known, None).map_err(context)?;
        cut.stop_observing();
        if let Some(again) = again.lock().unwrap().take() {
            let cut = again.power_cut(survival, random.next());
            verify(&wrap(cut), known, None).map_err(context)?;
        }
    }
    // What was recovered is durable, and the log goes on behind it.
    let served =
        Known { acknowledged: found.len(), written: found, clean: known.clean, watermark: None };
    let body = body_of(seed, 50);
    let record = NewRecord { id: id_of(&body), body: &body, heals: None };
    log.write(&[record], Timestamp::MIN, &mut Vec::new()).map_err(|error| error.to_string())?;
    let cut = observed.power_cut(Survival::Nothing, seed);
    let (_, after) = verify(&wrap(cut), &served, None)?;
    if after.len() == served.written.len() { Ok(count * 2) } else { Err("grew".into()) }
}

/// Damages a record that a mark covers, in what the cut left: that is never taken for torn.
fn damage_is_found(disk: &FaultyDisk, known: &Known, seed: u64) -> Result<(), String> {
    let mut random = Random(seed | 1);
    // The last batch's header says that all before it is durable, and holds at most five records.
    let Some(covered) = known.acknowledged.checked_sub(5).filter(|covered| *covered > 0) else {
        return Ok(());
    };
    let entry = &known.written[usize::try_from(random.below(covered as u64)).unwrap()];
    let disk = disk.fork();
    let names = disk.list().unwrap();
    let segments = names.iter().filter(|name| parse_segment_name(name).is_some());
    let (name, offset) = segments
        .filter_map(|name| {
            let header = SegmentHeader::parse(&disk.contents(name).unwrap()).unwrap();
            Some((name, entry.position.checked_sub(header.first_position)?))
        })
        .next_back()
        .unwrap();
    let before = disk.contents(name).unwrap();
    let len = 60 + entry.body.len() as u64;
    if random.below(2) == 0 {
        disk.flip_bit(name, offset * 8 + random.below(len * 8)).unwrap();
    } else {
        let len = usize::try_from(1 + random.below(len)).unwrap();
        disk.overwrite(name, &vec![0; len], offset).unwrap();
    }
    if disk.contents(name).unwrap() == before {
        return Ok(());
    }
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let origin = Origin { clean: known.clean, ..ORIGIN };
    match open(&shared, &origin, &options(), None) {
        Err(OpenError::Damaged(_)) => Ok(()),
        Err(error) => Err(format!("damage reported as: {error}")),
        Ok((_, report, _)) => {
            Err(format!("damage to entry {} not found: {:?}", entry.index, report.warnings))
        }
    }
}

#[test]
fn control_a_writer_that_skips_the_sync_is_caught() {
    for seed in 1..4 {
        let error = simulate(seed, 40, |disk| Arc::new(UnsyncedDisk(disk))).unwrap_err();
        println!("caught: {error}");
    }
}

fn plain(disk: FaultyDisk) -> Arc<dyn Disk> {
    Arc::new(disk)
}

#[test]
fn no_power_cut_loses_what_was_acknowledged_or_is_taken_for_damage() {
    let histories: u64 = std::env::var("STEMEDB_HISTORIES").map_or(6, |text| text.parse().unwrap());
    let first = std::env::var("STEMEDB_SEED").map_or(1, |text| text.parse().unwrap());
    let mut cuts = 0;
    for seed in first..first + histories {
        cuts += simulate(seed, 40, plain)
            .unwrap_or_else(|error| panic!("STEMEDB_SEED={seed}: {error}"));
    }
    println!("{cuts} power cuts");
    assert!(cuts > 5000, "{cuts}");
}
