//! Stores of one kind of record and of many sizes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use stemedb::{AssertionId, Options, Store};

use crate::Failure;
use crate::body;
use crate::contest::Sample;
use crate::ours::{large, store};
use crate::setting::{Setting, settle, warm};

/// Bytes of a body.
const LEN: usize = 32;

/// Bodies that are appended at once.
const PIECE: u64 = 100_000;

/// A store of so many records, with a checkpoint.
#[derive(Debug)]
pub(crate) struct Sized {
    dir: PathBuf,
    setting: Setting,
    records: u64,
    /// Whether measures that append do so to a copy.
    copied: bool,
}

impl Sized {
    pub(crate) fn prepared(setting: &Setting, records: u64, copied: bool) -> Result<Self, Failure> {
        let dir = setting.prepared(&format!("growth-{records}"), |dir| {
            let store = Store::open(dir, Options::default())?;
            for first in (0..records).step_by(PIECE as usize) {
                let arena = body::arena_of(first, PIECE.min(records - first), LEN);
                store.append_batch(arena.chunks_exact(LEN))?;
            }
            store.checkpoint()?;
            Ok(store.close()?)
        })?;
        Ok(Self { dir, setting: setting.clone(), records, copied })
    }

    /// All costs of a store of this size.
    pub(crate) fn run(&self) -> Result<Sample, Failure> {
        let mut sample = Sample::new();
        if self.records > 0 {
            warm(&self.dir)?;
            self.opening(&mut sample)?;
            self.reading(&mut sample)?;
        }
        self.appending(&mut sample)?;
        Ok(sample)
    }

    fn opening(&self, sample: &mut Sample) -> Result<(), Failure> {
        settle();
        let started = Instant::now();
        let store = Store::open(&self.dir, Options::default())?;
        std::hint::black_box((store.root()?, store.history_root()?));
        sample.push(("open, ms", started.elapsed().as_secs_f64() * 1e3));
        store.close()?;
        let child = Command::new(std::env::current_exe()?).arg("idle").arg(&self.dir).output()?;
        let text = String::from_utf8(child.stdout)?;
        let mut numbers = text.split_whitespace().map(str::parse::<f64>);
        let (Some(Ok(heap)), Some(Ok(mapped))) = (numbers.next(), numbers.next()) else {
            return Err(String::from_utf8_lossy(&child.stderr).into());
        };
        sample.push(("idle memory, MB", (heap + mapped) / 1e6));
        Ok(())
    }

    fn reading(&self, sample: &mut Sample) -> Result<(), Failure> {
        let store = Store::open(&self.dir, Options::default())?;
        let count = self.setting.records(300_000) as usize;
        let ids: Vec<_> = body::picks(self.records, count, self.records)
            .into_iter()
            .map(|number| {
                let mut bytes = [0; LEN];
                body::fill(number, &mut bytes);
                AssertionId(blake3::hash(&bytes).into())
            })
            .collect();
        let (untimed, timed) = ids.split_at(count / 3);
        let get = |id: &AssertionId| -> Result<(), Failure> {
            std::hint::black_box(store.get(id)?.ok_or("a body is not there")?);
            Ok(())
        };
        untimed.iter().try_for_each(get)?;
        let started = Instant::now();
        timed.iter().try_for_each(get)?;
        sample.push(("get, ns", started.elapsed().as_nanos() as f64 / timed.len() as f64));
        let (untimed, timed) = ids[..count / 5].split_at(count / 15);
        let prove = |id: &AssertionId| -> Result<(), Failure> {
            std::hint::black_box(store.prove(id)?);
            Ok(())
        };
        untimed.iter().try_for_each(prove)?;
        let started = Instant::now();
        timed.iter().try_for_each(prove)?;
        sample.push(("prove, ns", started.elapsed().as_nanos() as f64 / timed.len() as f64));
        Ok(store.close()?)
    }

    fn appending(&self, sample: &mut Sample) -> Result<(), Failure> {
        let dir = if self.copied {
            let dir = self.setting.fresh("growth")?;
            large::copy(&self.dir, &dir)?;
            dir
        } else {
            self.dir.clone()
        };
        let store = Arc::new(Store::open(&dir, Options::default())?);
        let records = self.setting.records(1_000_000);
        // Other numbers than those of earlier rounds, where these stay.
        let arena = body::arena_of((1 << 40) + store.len(), records, LEN);
        settle();
        for (name, value) in store::bulk_into(&store, &arena, LEN)? {
            if name == "records/s" {
                sample.push(("bulk, records/s", value));
            }
        }
        settle();
        let span = self.setting.span() / 2;
        let first = (1 << 50) + store.len();
        for (name, value) in store::append_from_tasks(&store, span, first, LEN)? {
            match name {
                "records/s" => sample.push(("durable, records/s", value)),
                "p99 µs" => sample.push(("durable p99, µs", value)),
                _ => {}
            }
        }
        store::close(store)
    }
}

/// Prints what an open store that does nothing has in memory.
pub(crate) fn idle(dir: &Path) -> Result<(), Failure> {
    let store = Store::open(dir, Options::default())?;
    std::hint::black_box((store.root()?, store.history_root()?));
    // What opening began in the background ends.
    thread::sleep(Duration::from_secs(3));
    let status = fs::read_to_string("/proc/self/status")?;
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok())
            .ok_or("/proc does not say what is resident")
    };
    println!("{} {}", kib("RssAnon:")? << 10, kib("RssFile:")? << 10);
    Ok(store.close()?)
}
