//! A log beside a plain model of it.

use std::sync::Arc;

use stemedb_merkle::{LogIndex, Timestamp};

use stemedb_wal::{
    Position,
    disk::Disk,
    identity::Identity,
    log::{Kind, Log, LogOptions, NewRecord, OpenReport, Origin, Placed, Watermark},
    repair::{RepairError, RepairOptions, RepairPlan, RepairReport},
};

pub(crate) const ORIGIN: Origin =
    Origin { store_id: [0xab; 16], generation: 0, salt_seed: [0xcd; 16], clean: None };

pub(crate) fn id_of(body: &[u8]) -> [u8; 32] {
    *blake3::hash(body).as_bytes()
}

/// A body that is told from all others with other numbers.
pub(crate) fn body_of(number: u64, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof().fill(&mut body);
    body
}

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ModelEntry {
    pub(crate) index: u64,
    pub(crate) time: u64,
    pub(crate) id: [u8; 32],
    pub(crate) position: u64,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for ModelEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}+{}", self.index, self.position, self.body.len())
    }
}

pub(crate) struct LogHarness {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) options: LogOptions,
    pub(crate) origin: Origin,
    log: Option<Log>,
    model: Vec<ModelEntry>,
    numbers: u64,
}

impl LogHarness {
    pub(crate) fn new(disk: Arc<dyn Disk>, options: LogOptions) -> Self {
        let mut harness =
            Self { disk, options, origin: ORIGIN, log: None, model: Vec::new(), numbers: 0 };
        harness.open();
        harness
    }

    pub(crate) fn log(&self) -> &Log {
        self.log.as_ref().unwrap()
    }

    pub(crate) fn log_mut(&mut self) -> &mut Log {
        self.log.as_mut().unwrap()
    }

    pub(crate) fn model(&self) -> &[ModelEntry] {
        &self.model
    }

    pub(crate) fn append(&mut self, lens: &[usize], now: u64) {
        let bodies: Vec<Vec<u8>> = lens
            .iter()
            .map(|len| {
                self.numbers += 1;
                body_of(self.numbers, *len)
            })
            .collect();
        self.append_bodies(bodies, now);
    }

    pub(crate) fn append_bodies(&mut self, bodies: Vec<Vec<u8>>, now: u64) {
        let records: Vec<NewRecord<'_>> =
            bodies.iter().map(|body| NewRecord { id: id_of(body), body, heals: None }).collect();
        let mut placed = Vec::new();
        let log = self.log.as_mut().unwrap();
        log.write(&records, Timestamp::from_ntp64(now), &mut placed).unwrap();
        log.sync().unwrap();
        log.publish();
        for (placed, body) in placed.iter().zip(bodies) {
            assert_eq!(placed.index, self.model.len() as u64);
            self.model.push(ModelEntry {
                index: placed.index.get(),
                time: placed.time.as_ntp64(),
                id: placed.id,
                position: placed.position.get(),
                body,
            });
        }
    }

    pub(crate) fn close(&mut self) {
        let clean = self.log.take().unwrap().close().unwrap();
        self.origin.clean = Some(clean);
    }

    pub(crate) fn open(&mut self) -> OpenReport {
        self.open_from(None)
    }

    /// Opens from a watermark, and checks that exactly what is behind it is replayed.
    pub(crate) fn open_from(&mut self, watermark: Option<Watermark>) -> OpenReport {
        let from = watermark.map_or(0, |watermark| watermark.next_index.get());
        let (log, report, replayed) =
            open(&self.disk, &self.origin, &self.options, watermark).unwrap();
        let expected = self.model.get(usize::try_from(from).unwrap()..).unwrap();
        assert_eq!(replayed.len(), expected.len());
        for (replayed, expected) in replayed.iter().zip(expected) {
            assert_eq!(replayed, expected);
        }
        self.log = Some(log);
        report
    }

    /// As if the process had died.
    pub(crate) fn reopen_after_kill(&mut self) -> OpenReport {
        self.log = None;
        self.open()
    }

    /// Every way of reading shows the model.
    pub(crate) fn check_reads(&self) {
        let reader = self.log().reader();
        assert_eq!(reader.next_index(), self.model.len() as u64);
        for entry in &self.model {
            let record = reader.read(Position(entry.position)).unwrap();
            assert_eq!(record.body, entry.body);
            assert_placed(&record.entry, entry);
            assert_eq!(reader.read_index(LogIndex(entry.index)).unwrap(), record);
            assert_eq!(reader.entry(Position(entry.position)).unwrap(), record.entry);
            assert_eq!(reader.entry_at(LogIndex(entry.index)).unwrap(), record.entry);
        }
        let count = self.model.len() as u64;
        let forward: Vec<Placed> =
            reader.entries(LogIndex(0)..LogIndex(u64::MAX)).map(Result::unwrap).collect();
        let mut backward: Vec<Placed> =
            reader.entries(LogIndex(0)..LogIndex(u64::MAX)).rev().map(Result::unwrap).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(forward.len(), self.model.len());
        for (placed, entry) in forward.iter().zip(&self.model) {
            assert_placed(placed, entry);
        }
        let (from, to) = (count / 3, count * 2 / 3);
        let mut both = reader.entries(LogIndex(from)..LogIndex(to));
        let mut seen = 0;
        while let Some(front) = both.next() {
            assert_eq!(front.unwrap().index, from + seen / 2);
            seen += 1;
            let Some(back) = both.next_back() else { break };
            assert_eq!(back.unwrap().index, to - 1 - seen / 2);
            seen += 1;
        }
        assert_eq!(seen, to - from);
        for entry in &self.model {
            for time in [entry.time.saturating_sub(1), entry.time, entry.time + 1] {
                let expected = self.model.partition_point(|entry| entry.time < time) as u64;
                assert_eq!(reader.index_at_time(Timestamp::from_ntp64(time)).unwrap(), expected);
            }
        }
    }
}

fn assert_placed(placed: &Placed, entry: &ModelEntry) {
    assert_eq!(
        (placed.index, placed.time, placed.id, placed.position, placed.len as usize, placed.kind),
        (
            LogIndex(entry.index),
            Timestamp::from_ntp64(entry.time),
            entry.id,
            Position(entry.position),
            entry.body.len(),
            Kind::Entry,
        )
    );
}

/// Opens a log and collects what is replayed.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    origin: &Origin,
    options: &LogOptions,
    watermark: Option<Watermark>,
) -> Result<(Log, OpenReport, Vec<ModelEntry>), stemedb_wal::error::OpenError> {
    let mut replayed = Vec::new();
    let (log, report) = Log::open(Arc::clone(disk), origin, options, watermark, &mut |records| {
        for placed in records.placed {
            replayed.push(ModelEntry {
                index: placed.index.get(),
                time: placed.time.as_ntp64(),
                id: placed.id,
                position: placed.position.get(),
                body: records.body(placed).to_vec(),
            });
        }
    })?;
    Ok((log, report, replayed))
}

/// Plans a repair and carries it out.
pub(crate) fn repair(
    disk: &Arc<dyn Disk>,
    identity: &mut Identity,
    options: &RepairOptions<'_>,
) -> Result<RepairReport, RepairError> {
    RepairPlan::new(disk, identity, options, &mut |_| {})?.apply(disk, identity, options)
}
