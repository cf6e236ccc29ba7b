//! A random history of a store, and its disk before each operation.

use std::sync::{Arc, Mutex};

use stemedb_simdisk::{FaultyDisk, Operation, Survival};
use stemedb_store::{Options, Store};
use stemedb_wal::disk::Disk;

use crate::reference::{
    ledger::Ledger,
    random::{Random, noise},
    world::{self, ENVIRONMENT},
};

/// What is between the store and the disk: nothing, but in the controls.
pub(crate) type Wrap = fn(FaultyDisk) -> Arc<dyn Disk>;

/// Right before an operation on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) operation: Operation,
    pub(crate) name: String,
    pub(crate) disk: FaultyDisk,
    pub(crate) ledger: Ledger,
}

pub(crate) fn options() -> Options {
    Options::default().segment_len(4096).threads(false).map_files(false)
}

/// What a crash explains; everything else that opening reports is wrong.
pub(crate) fn check_report(store: &Store) -> Result<(), String> {
    use stemedb_store::Warning;
    use stemedb_wal::log::Warning as LogWarning;
    let report = store.open_report();
    if report.checkpoint_set_aside {
        return Err(format!("a restart checkpoint was set aside: {report}"));
    }
    for remark in &report.remarks {
        match remark {
            Warning::Log(
                LogWarning::TornTail { .. }
                | LogWarning::UnfinishedSeal { .. }
                | LogWarning::Leftover { .. },
            ) => {}
            _ => return Err(format!("a crash does not explain: {remark}")),
        }
    }
    Ok(())
}

/// One body: short, empty, long, zeros, or log bytes.
pub(crate) fn body(random: &mut Random, disk: &FaultyDisk) -> Arc<[u8]> {
    let number = random.next();
    let mut len = random.index(300);
    let body = match random.below(24) {
        0 => Vec::new(),
        1 => vec![0; 1 + random.index(2000)],
        2 => noise(number, 3000 + random.index(4000)),
        3 => {
            // Bytes of the log itself, batch headers and all.
            let names = disk.list().unwrap();
            let name = &names[random.index(names.len())];
            let contents = disk.contents(name).unwrap();
            let from = random.index(contents.len() + 1);
            len = len.max(600).min(contents.len() - from);
            contents[from..from + len].to_vec()
        }
        4 => {
            let mut body = noise(number, 700 + random.index(1500));
            body[100..600].fill(0);
            body
        }
        _ => noise(number, len),
    };
    body.into()
}

struct Life {
    wrap: Wrap,
    disk: FaultyDisk,
    ledger: Arc<Mutex<Ledger>>,
    moments: Arc<Mutex<Vec<Moment>>>,
    store: Option<Store>,
    random: Random,
}

/// Lives through `steps` random steps. All moments, in order.
pub(crate) fn live(seed: u64, steps: u64, wrap: Wrap) -> Result<Vec<Moment>, String> {
    world::reset();
    let mut life = Life {
        wrap,
        disk: FaultyDisk::new(seed),
        ledger: Arc::default(),
        moments: Arc::default(),
        store: None,
        random: Random::new(seed),
    };
    life.open()?;
    if seed.is_multiple_of(3) {
        // Nearly enough for a first tile of the history.
        life.append(250, 20)?;
    }
    for step in 0..steps {
        life.step().map_err(|error| format!("step {step}: {error}"))?;
    }
    life.disk.stop_observing();
    let moments = std::mem::take(&mut *life.moments.lock().unwrap());
    Ok(moments)
}

impl Life {
    fn observe(&self) {
        let (ledger, moments) = (Arc::clone(&self.ledger), Arc::clone(&self.moments));
        self.disk.observe(move |moment| {
            let ledger = ledger.lock().unwrap().clone();
            let stemedb_simdisk::Step { operation, name, disk, .. } = moment;
            moments.lock().unwrap().push(Moment { operation, name, disk, ledger });
        });
    }

    fn open(&mut self) -> Result<(), String> {
        self.observe();
        let store = Store::open_on((self.wrap)(self.disk.clone()), ENVIRONMENT, options())
            .map_err(|error| error.to_string())?;
        check_report(&store)?;
        let mut ledger = self.ledger.lock().unwrap().clone();
        ledger.resolve(&store)?;
        ledger.check(&store, &mut self.random)?;
        *self.ledger.lock().unwrap() = ledger;
        self.store = Some(store);
        Ok(())
    }

    fn step(&mut self) -> Result<(), String> {
        if !self.random.one_in(6) {
            return self.act();
        }
        // The process dies in the middle of it, or the power fails.
        let before = self.moments.lock().unwrap().len();
        self.act()?;
        self.disk.stop_observing();
        let moments = self.moments.lock().unwrap()[before..].to_vec();
        let (disk, ledger) = if moments.is_empty() {
            (self.disk.fork(), self.ledger.lock().unwrap().clone())
        } else {
            let moment = &moments[self.random.index(moments.len())];
            (moment.disk.clone(), moment.ledger.clone())
        };
        // What the abandoned one does when it is dropped, nobody sees.
        self.store = None;
        self.disk = if self.random.one_in(2) {
            disk.fork()
        } else {
            let survival = Survival::ALL[self.random.index(Survival::ALL.len())];
            disk.power_cut(survival, self.random.next())
        };
        *self.ledger.lock().unwrap() = ledger;
        self.open()
    }

    fn act(&mut self) -> Result<(), String> {
        let store = self.store.as_ref().unwrap();
        match self.random.below(16) {
            0 => {
                let store = self.store.take().unwrap();
                store.close().map_err(|error| error.to_string())?;
                self.open()
            }
            1..4 => store.checkpoint().map(drop).map_err(|error| error.to_string()),
            4 => {
                let n = 20 + self.random.below(60);
                self.append(n, 20)
            }
            5 => {
                let held = self.ledger.lock().unwrap().entries.clone();
                if held.is_empty() {
                    return Ok(());
                }
                let mut bodies: Vec<_> =
                    (0..3).map(|_| Arc::clone(&held[self.random.index(held.len())].body)).collect();
                bodies.push(body(&mut self.random, &self.disk));
                bodies.push(Arc::clone(&bodies[3]));
                self.append_bodies(&bodies)
            }
            6..10 => self.append(1, u64::MAX),
            _ => {
                let n = 1 + self.random.below(5);
                self.append(n, u64::MAX)
            }
        }
    }

    fn append(&mut self, count: u64, len_max: u64) -> Result<(), String> {
        let bodies: Vec<Arc<[u8]>> = (0..count)
            .map(|_| match len_max {
                u64::MAX => body(&mut self.random, &self.disk),
                max => {
                    noise(self.random.next(), 8 + usize::try_from(self.random.below(max)).unwrap())
                        .into()
                }
            })
            .collect();
        self.append_bodies(&bodies)
    }

    fn append_bodies(&mut self, bodies: &[Arc<[u8]>]) -> Result<(), String> {
        {
            // What may be found after a cut has to be known before it is written.
            let mut ledger = self.ledger.lock().unwrap();
            ledger.in_flight = Arc::new(ledger.new_ones(bodies));
        }
        let store = self.store.as_ref().unwrap();
        let receipts = store.append_batch(bodies).map_err(|error| error.to_string())?;
        self.ledger.lock().unwrap().acknowledge(bodies, &receipts)
    }
}
