//! Whole stores: log, ids, both trees.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stemedb::{Options, Store};

use crate::Failure;
use crate::body::{self, BODY_LEN};
use crate::contest::Sample;
use crate::tasks;

/// 64 tasks that append and wait.
pub(crate) fn appenders(dir: &Path, span: Duration) -> Result<Sample, Failure> {
    let store = Arc::new(Store::open(dir, Options::default())?);
    let sample = append_from_tasks(&store, span, 0, BODY_LEN)?;
    close(store)?;
    Ok(sample)
}

/// The same into a store that is open, bodies of `len` bytes; no body below `first` is used.
pub(crate) fn append_from_tasks(
    store: &Arc<Store>,
    span: Duration,
    first: u64,
    len: usize,
) -> Result<Sample, Failure> {
    let store = Arc::clone(store);
    tasks::async_appenders(span, move |number| {
        let mut bytes = vec![0; len];
        body::fill(first + number, &mut bytes);
        let done = store.append_async(bytes);
        async move {
            let receipt = done.await?;
            if receipt.duplicate {
                return Err("a body came twice".into());
            }
            Ok(())
        }
    })
}

pub(crate) fn close(store: Arc<Store>) -> Result<(), Failure> {
    Arc::into_inner(store).ok_or("a task still holds the store")?.close()?;
    Ok(())
}

/// One thread, batches of `batch`.
pub(crate) fn batches(dir: &Path, span: Duration, batch: u64) -> Result<Sample, Failure> {
    let store = Store::open(dir, Options::default())?;
    let sample = tasks::batches(span, batch, |first| {
        store.append_batch((first..first + batch).map(body::body))?;
        Ok(())
    })?;
    store.close()?;
    Ok(sample)
}

/// Appends all bodies of `arena` with one wait; both roots are there at the end.
pub(crate) fn bulk(dir: &Path, arena: &[u8]) -> Result<Sample, Failure> {
    let store = Store::open(dir, Options::default())?;
    let sample = bulk_into(&store, arena, BODY_LEN)?;
    store.close()?;
    Ok(sample)
}

/// The same into a store that is open, bodies of `len` bytes.
pub(crate) fn bulk_into(store: &Store, arena: &[u8], len: usize) -> Result<Sample, Failure> {
    let records = arena.len() / len;
    let before = store.len();
    let started = Instant::now();
    store.append_batch(arena.chunks_exact(len))?;
    std::hint::black_box((store.root()?, store.history_root()?));
    let seconds = started.elapsed().as_secs_f64();
    if store.len() != before + records as u64 {
        return Err("the store does not hold what was appended".into());
    }
    Ok(vec![("records/s", records as f64 / seconds), ("ms", seconds * 1e3)])
}

/// Bytes a record of the log, and of all that stays on the disk.
pub(crate) fn disk_bytes(dir: &Path, records: u64) -> Result<Sample, Failure> {
    let store = Store::open(dir, Options::default())?;
    store.append_batch(body::arena(0, records).chunks_exact(BODY_LEN))?;
    store.checkpoint()?;
    store.close()?;
    let log = file_bytes(dir, |name| name.starts_with("segment-"))?;
    let all = file_bytes(dir, |name| !name.ends_with(".tmp"))?;
    Ok(vec![
        ("B/record in the log", log as f64 / records as f64),
        ("B/record in all", all as f64 / records as f64),
    ])
}

/// Lengths of the files of a store whose names are wanted.
pub(crate) fn file_bytes(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}
