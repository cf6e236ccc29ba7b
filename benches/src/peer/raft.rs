//! raft-engine: log entries of 64 raft groups, or of one.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use protobuf::well_known_types::BytesValue;
use raft_engine::{Config, Engine, LogBatch, MessageExt, ReadableSize};

use crate::Failure;
use crate::body::{self, BODY_LEN};
use crate::contest::Sample;
use crate::limit::raw_file::reads_sample;
use crate::tasks;

/// An entry is its index and its body: raft's own entry type would need a protobuf compiler.
#[derive(Debug, Clone)]
struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        entry.value.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

fn entry(index: u64, number: u64) -> BytesValue {
    let mut value = vec![0; 8 + BODY_LEN];
    value[..8].copy_from_slice(&index.to_le_bytes());
    body::fill(number, &mut value[8..]);
    BytesValue { value, ..BytesValue::default() }
}

/// Bodies don't compress, so it must not try; nothing is purged. Files prefilled for recycling made
/// it a tenth slower here.
fn config(dir: &Path) -> Config {
    Config {
        dir: dir.display().to_string(),
        batch_compression_threshold: ReadableSize(0),
        purge_threshold: ReadableSize::gb(100),
        ..Config::default()
    }
}

/// 64 threads, a raft group each, every write synced; the engine itself groups them.
pub(crate) fn appenders(dir: &Path, span: Duration) -> Result<Sample, Failure> {
    let engine = Arc::new(Engine::open(config(dir))?);
    tasks::blocking_appenders(span, |appender| {
        let engine = Arc::clone(&engine);
        let mut batch = LogBatch::with_capacity(1);
        let mut index = 0;
        move |number| {
            index += 1;
            batch.add_entries::<Indexed>(appender + 1, &[entry(index, number)])?;
            engine.write(&mut batch, true)?;
            Ok(())
        }
    })
}

/// One thread, one group, batches of `batch`.
pub(crate) fn batches(dir: &Path, span: Duration, batch: u64) -> Result<Sample, Failure> {
    let engine = Engine::open(config(dir))?;
    let mut log = LogBatch::with_capacity(batch as usize);
    tasks::batches(span, batch, |first| {
        let entries: Vec<_> =
            (first..first + batch).map(|number| entry(number + 1, number)).collect();
        log.add_entries::<Indexed>(1, &entries)?;
        engine.write(&mut log, true)?;
        Ok(())
    })
}

/// Appends `records` in batches of `batch` and syncs once at the end.
///
/// Large batches are fastest to write and to open again; a read takes a whole batch in and checks
/// it, so that batches of one are fastest to read.
pub(crate) fn fill(dir: &Path, records: u64, batch: u64) -> Result<Sample, Failure> {
    let engine = Engine::open(config(dir))?;
    let mut log = LogBatch::with_capacity(batch as usize);
    let started = Instant::now();
    let mut next = 0;
    while next < records {
        let end = (next + batch).min(records);
        let entries: Vec<_> = (next..end).map(|number| entry(number + 1, number)).collect();
        log.add_entries::<Indexed>(1, &entries)?;
        engine.write(&mut log, false)?;
        next = end;
    }
    engine.sync()?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(vec![("records/s", records as f64 / seconds), ("ms", seconds * 1e3)])
}

/// Opens what [`fill`] wrote.
pub(crate) fn reopen(dir: &Path, records: u64) -> Result<Sample, Failure> {
    let started = Instant::now();
    let engine = Engine::open(config(dir))?;
    let took = started.elapsed().as_secs_f64();
    if engine.last_index(1) != Some(records) {
        return Err("raft-engine did not find all entries again".into());
    }
    Ok(vec![("s", took)])
}

/// Opens it and reads entries at random indexes; the first third of them warms up, untimed.
pub(crate) fn random_reads(dir: &Path, picks: &[u64]) -> Result<Sample, Failure> {
    let engine = Engine::open(config(dir))?;
    let read = |pick: u64| -> Result<(), Failure> {
        let found: Option<BytesValue> = engine.get_entry::<Indexed>(1, pick + 1)?;
        std::hint::black_box(found.ok_or("raft-engine lost an entry")?);
        Ok(())
    };
    picks[..picks.len() / 3].iter().try_for_each(|&pick| read(pick))?;
    let started = Instant::now();
    picks.iter().try_for_each(|&pick| read(pick))?;
    Ok(reads_sample(picks.len(), started.elapsed()))
}
