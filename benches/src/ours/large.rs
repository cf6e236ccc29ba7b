//! Large stores that several measures share, made once.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use stemedb::{AssertionId, Options, Position, Store};
use stemedb_wal::disk::{Disk, FileDisk};
use stemedb_wal::identity::Identity;
use stemedb_wal::log::{Log, LogOptions, Origin, Replayed};

use crate::Failure;
use crate::body::{self, BODY_LEN};
use crate::contest::Sample;
use crate::limit::raw_file::reads_sample;
use crate::ours::store;
use crate::setting::{LARGE, Setting, settle};

/// Bytes of a short body.
const SHORT_LEN: usize = 32;

/// Bodies that are appended at once while a store is filled.
const PIECE: u64 = 100_000;

/// Positions of all records, in a file beside the store that they belong to.
fn positions_file(dir: &Path) -> PathBuf {
    dir.with_extension("positions")
}

fn fill(dir: &Path, records: u64) -> Result<Store, Failure> {
    fill_with(dir, records, BODY_LEN)
}

/// Fills a store with bodies of a length, a multiple of 8.
fn fill_with(dir: &Path, records: u64, body_len: usize) -> Result<Store, Failure> {
    let store = Store::open(dir, Options::default())?;
    let mut positions = Vec::with_capacity(records as usize * 8);
    for first in (0..records).step_by(PIECE as usize) {
        let arena = body::arena_of(first, PIECE.min(records - first), body_len);
        for receipt in store.append_batch(arena.chunks_exact(body_len))? {
            positions.extend_from_slice(&receipt.position.get().to_le_bytes());
        }
    }
    fs::write(positions_file(dir), positions)?;
    Ok(store)
}

/// A store of 10 M whose derived files the measures remove.
pub(crate) fn prepared(setting: &Setting) -> Result<PathBuf, Failure> {
    let records = setting.records(LARGE);
    setting.prepared("store", |dir| Ok(fill(dir, records)?.close()?))
}

/// A store of `records` with a checkpoint, and 1,000 records behind it.
pub(crate) fn with_tail(setting: &Setting, records: u64) -> Result<PathBuf, Failure> {
    setting.prepared(&format!("checkpointed-{records}"), |dir| {
        let store = fill(dir, records)?;
        store.checkpoint()?;
        store.append_batch((records..records + 1000).map(body::body))?;
        Ok(store.close()?)
    })
}

/// Copies the files of a store.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    settle();
    Ok(())
}

/// Removes everything that the log rebuilds.
fn remove_derived(dir: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let derived =
            name.to_str().is_some_and(|name| name.ends_with(".ckpt") || name == "history.tiles");
        if derived {
            fs::remove_file(entry.path())?;
        }
    }
    settle();
    Ok(())
}

/// Reads the whole log and checks every checksum, nothing else.
/// Opens the log alone: every checksum, no trees.
fn scan_log(dir: &Path) -> Result<u64, Failure> {
    let disk: Arc<dyn Disk> = Arc::new(FileDisk::open(dir)?);
    let identity = Identity::load(disk.as_ref())?;
    let origin = Origin {
        store_id: identity.store_id,
        generation: identity.generation,
        salt_seed: identity.salt_seed,
        clean: None,
    };
    let mut found = 0;
    let mut count = |records: Replayed<'_>| found += records.placed.len() as u64;
    Log::open(disk, &origin, &LogOptions::default(), None, &mut count)?;
    Ok(found)
}

pub(crate) fn scan(dir: &Path, records: u64) -> Result<Sample, Failure> {
    let started = Instant::now();
    let found = scan_log(dir)?;
    let took = started.elapsed().as_secs_f64();
    if found != records {
        return Err("the scan did not find all records".into());
    }
    Ok(vec![("s", took)])
}

/// Opens with nothing but the log.
pub(crate) fn open_without_checkpoint(dir: &Path, records: u64) -> Result<Sample, Failure> {
    remove_derived(dir)?;
    let started = Instant::now();
    let store = Store::open(dir, Options::default())?;
    std::hint::black_box((store.root()?, store.history_root()?));
    let took = started.elapsed().as_secs_f64();
    if store.len() != records {
        return Err("the store did not find all records again".into());
    }
    store.close()?;
    Ok(vec![("s", took)])
}

/// Opens with nothing but the log, and hashes every body too.
pub(crate) fn open_verified(dir: &Path, _: u64) -> Result<Sample, Failure> {
    remove_derived(dir)?;
    let started = Instant::now();
    let store = Store::open(dir, Options::default().verify_on_open(true))?;
    std::hint::black_box((store.root()?, store.history_root()?));
    let took = started.elapsed().as_secs_f64();
    store.close()?;
    Ok(vec![("s", took)])
}

/// Opens as it is.
pub(crate) fn open(dir: &Path) -> Result<Sample, Failure> {
    settle();
    let id = AssertionId(blake3::hash(&body::body(0)).into());
    let started = Instant::now();
    let store = Store::open(dir, Options::default())?;
    let took = started.elapsed().as_secs_f64();
    // It brings pages in: what the first reader waits for.
    let found = store.contains(&id)?;
    let first = started.elapsed().as_secs_f64();
    // The tail is taken into the trees for it.
    std::hint::black_box((store.root()?, store.history_root()?));
    let roots = started.elapsed().as_secs_f64();
    if !found {
        return Err("the store lacks its first body".into());
    }
    store.close()?;
    Ok(vec![
        ("ms", took * 1e3),
        ("ms to the first lookup", first * 1e3),
        ("ms to both roots", roots * 1e3),
    ])
}

/// Bytes an id of the checkpoint's files.
pub(crate) fn checkpoint_bytes(setting: &Setting) -> Result<Sample, Failure> {
    let records = setting.records(LARGE);
    let dir = with_tail(setting, records)?;
    let bytes = store::file_bytes(&dir, |name| name.ends_with(".ckpt"))?;
    Ok(vec![("B/id", bytes as f64 / records as f64)])
}

/// A store of `records` bodies of 32 B with a checkpoint.
fn short(setting: &Setting, records: u64) -> Result<PathBuf, Failure> {
    setting.prepared(&format!("short-{records}"), |dir| {
        let store = fill_with(dir, records, SHORT_LEN)?;
        store.checkpoint()?;
        Ok(store.close()?)
    })
}

/// Random reads out of a store of 10 M.
pub(crate) struct Reads {
    dir: PathBuf,
    positions: Vec<u64>,
    picks: Vec<u64>,
    ids: Vec<AssertionId>,
    body_len: usize,
}

/// How bodies are asked for.
#[derive(Clone, Copy)]
pub(crate) enum Ask {
    /// By position, one by one.
    Position,
    /// By id, one by one.
    Id,
    /// By id, all at once.
    Many,
}

impl Reads {
    /// Of the bodies `picks` of 256 B.
    pub(crate) fn open(setting: &Setting, picks: Vec<u64>) -> Result<Self, Failure> {
        Self::of(with_tail(setting, setting.records(LARGE))?, picks, BODY_LEN)
    }

    /// The same of 32 B.
    pub(crate) fn open_short(setting: &Setting, picks: Vec<u64>) -> Result<Self, Failure> {
        Self::of(short(setting, setting.records(LARGE))?, picks, SHORT_LEN)
    }

    fn of(dir: PathBuf, picks: Vec<u64>, body_len: usize) -> Result<Self, Failure> {
        let positions = fs::read(positions_file(&dir))?
            .as_chunks::<8>()
            .0
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes))
            .collect();
        let id = |pick: &u64| {
            let body = body::arena_of(*pick, 1, body_len);
            AssertionId(blake3::hash(&body).into())
        };
        let ids = picks.iter().map(id).collect();
        Ok(Self { dir, positions, picks, ids, body_len })
    }

    /// Reads the bodies of all picks, out of maps or by calls; a third of them first, untimed.
    pub(crate) fn run(&self, ask: Ask, verify: bool, map_files: bool) -> Result<Sample, Failure> {
        let options = Options::default().verify_reads(verify).map_files(map_files);
        let store = Store::open(&self.dir, options)?;
        self.read(&store, ask, self.picks.len() / 3)?;
        let started = Instant::now();
        self.read(&store, ask, self.picks.len())?;
        let sample = reads_sample(self.picks.len(), started.elapsed());
        store.close()?;
        Ok(sample)
    }

    fn read(&self, store: &Store, ask: Ask, count: usize) -> Result<(), Failure> {
        let mut bytes = 0;
        let mut seen =
            |body: Option<&[u8]>| bytes += std::hint::black_box(body).map_or(0, <[u8]>::len);
        let ids = &self.ids[..count];
        match ask {
            Ask::Position => {
                for &pick in &self.picks[..count] {
                    seen(Some(&store.get_at(Position(self.positions[pick as usize]))?));
                }
            }
            Ask::Id => {
                for id in ids {
                    seen(store.get(id)?.as_deref());
                }
            }
            Ask::Many => {
                for body in store.get_many(ids) {
                    seen(body?.as_deref());
                }
            }
        }
        if bytes == count * self.body_len { Ok(()) } else { Err("bodies are missing".into()) }
    }
}

/// A copy of the large store, which measures append to.
pub(crate) struct Grown {
    store: Arc<Store>,
    next: u64,
}

impl Grown {
    pub(crate) fn copy_of(setting: &Setting, checkpoints: bool) -> Result<Self, Failure> {
        let from = with_tail(setting, setting.records(LARGE))?;
        let dir = setting.fresh("grown")?;
        copy(&from, &dir)?;
        let mut options = Options::default();
        if !checkpoints {
            options.checkpoint_every = u64::MAX;
            options.checkpoint_interval = Duration::MAX;
        }
        Ok(Self { store: Arc::new(Store::open(dir, options)?), next: 1 << 48 })
    }

    /// Appends `records` more with one wait.
    pub(crate) fn bulk(&mut self, records: u64) -> Result<Sample, Failure> {
        let arena = body::arena(self.next, records);
        self.next += records;
        settle();
        store::bulk_into(&self.store, &arena, BODY_LEN)
    }

    /// 64 tasks append for `span`, while checkpoints are written one after the other, or none.
    pub(crate) fn appenders(
        &mut self,
        span: Duration,
        checkpoints: bool,
    ) -> Result<Sample, Failure> {
        self.next += 1 << 48;
        let first = self.next;
        settle();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = checkpoints.then(|| {
                scope.spawn(|| {
                    let mut written = 0_u32;
                    while !done.load(Relaxed) {
                        self.store.checkpoint()?;
                        written += 1;
                    }
                    Ok::<_, Failure>(written)
                })
            });
            let sample = store::append_from_tasks(&self.store, span, first, BODY_LEN);
            done.store(true, Relaxed);
            let mut sample = sample?;
            if let Some(writer) = writer {
                let written = writer.join().map_err(|_| "the checkpoint thread panicked")??;
                sample.push(("checkpoints written", f64::from(written)));
            }
            Ok(sample)
        })
    }
}
