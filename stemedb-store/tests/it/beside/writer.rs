//! A writer that does all that writers do: appends, rolls, restart checkpoints, closes, and deaths.

use std::{
    io,
    sync::{Arc, Mutex},
};

use stemedb_simdisk::{FaultyDisk, Operation};
use stemedb_store::{Options, Store};

use super::gate::{Ask, Gate};
use crate::reference::{
    ledger::Ledger,
    random::{Random, noise},
    world::ENVIRONMENT,
};

pub(crate) fn options() -> Options {
    Options::default().segment_len(4096).threads(false).map_files(false)
}

/// After how many operations the process dies; none if it does not.
#[derive(Debug, Default)]
struct Death {
    left: Mutex<Option<u64>>,
}

impl Death {
    fn pass(&self) -> io::Result<()> {
        match &mut *self.left.lock().unwrap() {
            Some(0) => Err(io::Error::other("this process is dead")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

pub(crate) struct Writer {
    gate: Gate,
    death: Arc<Death>,
    ledger: Arc<Mutex<Ledger>>,
    random: Random,
    store: Option<Store>,
}

impl Writer {
    /// One that asks before each operation that changes anything.
    pub(crate) fn new(
        disk: &FaultyDisk,
        seed: u64,
        ledger: Arc<Mutex<Ledger>>,
        before: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let death = Arc::new(Death::default());
        let dying = Arc::clone(&death);
        let ask: Ask = Arc::new(move |operation: Operation| {
            if operation.mutates() {
                before();
                return dying.pass();
            }
            Ok(())
        });
        let gate = Gate { disk: Arc::new(disk.clone()), ask };
        Self { gate, death, ledger, random: Random::new(seed), store: None }
    }

    fn open(&mut self) {
        let store = Store::open_on(Arc::new(self.gate.clone()), ENVIRONMENT, options()).unwrap();
        let mut ledger = self.ledger.lock().unwrap().clone();
        ledger.resolve(&store).unwrap();
        *self.ledger.lock().unwrap() = ledger;
        self.store = Some(store);
    }

    /// Lives through so many steps.
    pub(crate) fn live(&mut self, steps: u64) {
        self.open();
        for _ in 0..steps {
            match self.random.below(12) {
                0 => {
                    self.store.take().unwrap().close().unwrap();
                    self.open();
                }
                1 | 2 => drop(self.store.as_ref().unwrap().checkpoint().unwrap()),
                3 => self.die(),
                4 => self.append(40, 60).unwrap(),
                5 => self.append(2, 5000).unwrap(),
                _ => {
                    let count = 1 + self.random.below(4);
                    self.append(count, 300).unwrap();
                }
            }
        }
        self.store.take().unwrap().close().unwrap();
    }

    /// Dies in the middle of something, and is started again.
    fn die(&mut self) {
        *self.death.left.lock().unwrap() = Some(self.random.below(8));
        // Nobody is told what comes of it.
        if self.random.one_in(3) {
            let _ = self.store.as_ref().unwrap().checkpoint();
        }
        for _ in 0..4 {
            if self.append(3, 900).is_err() {
                break;
            }
        }
        *self.death.left.lock().unwrap() = Some(0);
        drop(self.store.take());
        *self.death.left.lock().unwrap() = None;
        self.open();
    }

    fn append(&mut self, count: u64, len_max: u64) -> Result<(), String> {
        let bodies: Vec<Arc<[u8]>> = (0..count)
            .map(|_| {
                let len = usize::try_from(self.random.below(len_max)).unwrap();
                noise(self.random.next(), len).into()
            })
            .collect();
        {
            // What a reader may find has to be known before it is written.
            let mut ledger = self.ledger.lock().unwrap();
            ledger.in_flight = Arc::new(ledger.new_ones(&bodies));
        }
        let store = self.store.as_ref().unwrap();
        let receipts = store.append_batch(&bodies).map_err(|error| error.to_string())?;
        self.ledger.lock().unwrap().acknowledge(&bodies, &receipts)
    }
}
