//! Plain files: preallocated, written, synced, read.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::body::{self, BODY_LEN, RECORD_LEN};
use crate::contest::Sample;
use crate::latency::Latencies;
use crate::ours::served;
use crate::tasks::{self, Turn};

/// Bytes that a raw log has preallocated before it starts over at the front.
const RAW_LEN: u64 = 256 << 20;

/// Bytes that a batch header of ours adds.
pub(crate) const BATCH_HEADER_LEN: usize = 64;

/// A file of written zeros that is overwritten again and again: the fastest file to sync, as
/// neither its length nor its extents change any more.
#[derive(Debug)]
pub(crate) struct RawLog {
    file: File,
    at: u64,
}

impl RawLog {
    pub(crate) fn create(dir: &Path) -> Result<Self, Failure> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(dir.join("raw.log"))?;
        let zeros = vec![0; 1 << 20];
        for _ in 0..RAW_LEN >> 20 {
            file.write_all(&zeros)?;
        }
        file.sync_all()?;
        Ok(Self { file, at: 0 })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.at + bytes.len() as u64 > RAW_LEN {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn sync(&self) -> Result<(), Failure> {
        Ok(self.file.sync_data()?)
    }
}

/// One record and one sync at a time.
pub(crate) fn single_syncs(dir: &Path, span: Duration) -> Result<Sample, Failure> {
    let mut log = RawLog::create(dir)?;
    let record = vec![0xa5; RECORD_LEN];
    tasks::batches(span, 1, |_| {
        log.write(&record)?;
        log.sync()
    })
}

/// `batch` records of our length and one batch header, written and synced at once.
pub(crate) fn batches(dir: &Path, span: Duration, batch: u64) -> Result<Sample, Failure> {
    let mut log = RawLog::create(dir)?;
    let mut bytes = vec![0; batch as usize * RECORD_LEN + BATCH_HEADER_LEN];
    tasks::batches(span, batch, |first| {
        for (record, number) in bytes.chunks_exact_mut(RECORD_LEN).zip(first..) {
            body::fill(number, &mut record[..BODY_LEN]);
        }
        log.write(&bytes)?;
        log.sync()
    })
}

/// Writes the bytes of `arena`'s records to a new file, in pieces of 1 MiB, and syncs once.
pub(crate) fn bulk(dir: &Path, arena: &[u8]) -> Result<Sample, Failure> {
    let records = arena.len() / BODY_LEN;
    let file = File::create(dir.join("raw.log"))?;
    let started = Instant::now();
    fs2::FileExt::allocate(&file, (records * RECORD_LEN) as u64)?;
    let mut piece = Vec::with_capacity((1 << 20) + RECORD_LEN);
    let mut at = 0;
    for body in arena.chunks_exact(BODY_LEN) {
        piece.extend_from_slice(body);
        piece.resize(piece.len() + RECORD_LEN - BODY_LEN, 0);
        if piece.len() >= 1 << 20 {
            file.write_all_at(&piece, at)?;
            at += piece.len() as u64;
            piece.clear();
        }
    }
    file.write_all_at(&piece, at)?;
    file.sync_data()?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(vec![("records/s", records as f64 / seconds), ("ms", seconds * 1e3)])
}

/// A file of `records` records of our length, for the readers below.
pub(crate) fn fill(dir: &Path, records: u64) -> Result<(), Failure> {
    let mut file = std::io::BufWriter::with_capacity(1 << 20, File::create(dir.join("raw.log"))?);
    let mut record = [0; RECORD_LEN];
    for number in 0..records {
        body::fill(number, &mut record);
        file.write_all(&record)?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    Ok(())
}

/// Reads the file in pieces of 1 MiB, one thread, with a CRC-32 over all of it.
pub(crate) fn scan(dir: &Path) -> Result<Sample, Failure> {
    let file = File::open(dir.join("raw.log"))?;
    let len = file.metadata()?.len();
    let mut piece = vec![0; 1 << 20];
    let started = Instant::now();
    let mut hasher = crc32fast::Hasher::new();
    let mut at = 0;
    while at < len {
        let read = file.read_at(&mut piece, at)?;
        if read == 0 {
            return Err("the raw file became shorter".into());
        }
        hasher.update(&piece[..read]);
        at += read as u64;
    }
    std::hint::black_box(hasher.finalize());
    Ok(vec![("s", started.elapsed().as_secs_f64())])
}

/// Reads whole records at random places.
pub(crate) fn random_reads(dir: &Path, picks: &[u64]) -> Result<Sample, Failure> {
    let file = File::open(dir.join("raw.log"))?;
    let mut record = [0; RECORD_LEN];
    let started = Instant::now();
    for &pick in picks {
        file.read_exact_at(&mut record, pick * RECORD_LEN as u64)?;
        std::hint::black_box(&record);
    }
    Ok(reads_sample(picks.len(), started.elapsed()))
}

/// Copies whole records at random places out of a map.
pub(crate) fn random_copies(dir: &Path, picks: &[u64]) -> Result<Sample, Failure> {
    let file = File::open(dir.join("raw.log"))?;
    // SAFETY: nobody changes the file: it was filled by this program, for this.
    let map = unsafe { memmap2::Mmap::map(&file) }?;
    let copy = |pick: &u64| {
        let at = *pick as usize * RECORD_LEN;
        std::hint::black_box(map[at..at + RECORD_LEN].to_vec());
    };
    picks[..picks.len() / 3].iter().for_each(copy);
    let started = Instant::now();
    picks.iter().for_each(copy);
    Ok(reads_sample(picks.len(), started.elapsed()))
}

pub(crate) fn reads_sample(reads: usize, took: Duration) -> Sample {
    let rate = reads as f64 / took.as_secs_f64();
    vec![("bodies/s", rate), ("ns", 1e9 / rate)]
}

/// Latencies of syncs behind writes of 4 KiB into a file that grows: what an append costs without
/// any preparation.
pub(crate) fn growing_syncs(dir: &Path, span: Duration) -> Result<Sample, Failure> {
    let file = File::create(dir.join("growing.log"))?;
    let record = vec![0xa5; RECORD_LEN];
    let mut latencies = Latencies::with_capacity(1 << 16);
    let turn = Turn::begin();
    let mut at = 0;
    while turn.began.elapsed() < span {
        let before = Instant::now();
        file.write_all_at(&record, at)?;
        file.sync_data()?;
        at += record.len() as u64;
        latencies.push(before.elapsed());
    }
    Ok(turn.sample(latencies))
}

/// So many bodies of `len` bytes in records of ours, in pieces of 1 MiB, each synced.
pub(crate) fn pieces(dir: &Path, bodies: u64, len: usize) -> Result<Sample, Failure> {
    const PIECE: usize = 1 << 20;
    let mut log = RawLog::create(dir)?;
    let mut piece = vec![0; PIECE];
    body::fill(1, &mut piece);
    let bytes = bodies as usize * (len + RECORD_LEN - BODY_LEN);
    let started = Instant::now();
    for _ in 0..bytes.div_ceil(PIECE) {
        log.write(&piece)?;
        log.sync()?;
    }
    Ok(served::rate(bodies, len, started.elapsed().as_secs_f64()))
}
