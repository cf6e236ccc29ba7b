//! Cutting the power, and what must be there afterwards.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use stemedb_simdisk::{FaultyDisk, Step as DiskStep, Survival};
use stemedb_store::Store;

use super::{
    damage,
    life::{self, Moment, Wrap, check_report, options},
};
use crate::reference::{ledger::Ledger, random::Random, world::ENVIRONMENT};

/// So many more cuts may come during the recoveries from a cut.
const DEPTH_MAX: u32 = 3;

#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Cuts of a history, and of the recoveries from them.
    pub(crate) cuts: u64,
    pub(crate) cuts_of_recoveries: u64,
    pub(crate) deepest: u32,
    pub(crate) continued: u64,
    pub(crate) damaged: damage::Counts,
    pub(crate) moments: u64,
    pub(crate) entries_max: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} power cuts at {} moments, {} of them during recoveries, up to {} in a row; \
             up to {} entries; {} went on; damaged: {:?}",
            self.cuts,
            self.moments,
            self.cuts_of_recoveries,
            self.deepest + 1,
            self.entries_max,
            self.continued,
            self.damaged
        )
    }
}

pub(crate) struct Cutter {
    wrap: Wrap,
    pub(crate) counts: Counts,
}

impl Cutter {
    pub(crate) fn new(wrap: Wrap) -> Self {
        Self { wrap, counts: Counts::default() }
    }

    pub(crate) fn cut_at_each(&mut self, seed: u64, moments: &[Moment]) -> Result<(), String> {
        let mut random = Random::new(seed ^ 0xc07);
        for (number, moment) in moments.iter().enumerate() {
            self.counts.moments += 1;
            for survival in Survival::ALL {
                let cut = moment.disk.power_cut(survival, random.next());
                self.survive(&cut, &moment.ledger, 0, &mut random).map_err(|error| {
                    format!(
                        "at operation {number} of {} ({:?} {}), {survival:?}: {error}",
                        moments.len(),
                        moment.operation,
                        moment.name
                    )
                })?;
            }
        }
        Ok(())
    }

    /// Opens what a cut left, and checks it.
    fn survive(
        &mut self,
        disk: &FaultyDisk,
        ledger: &Ledger,
        depth: u32,
        random: &mut Random,
    ) -> Result<(), String> {
        self.counts.cuts += 1;
        self.counts.cuts_of_recoveries += u64::from(depth > 0);
        self.counts.deepest = self.counts.deepest.max(depth);
        let observed = disk.fork();
        let moments: Arc<Mutex<Vec<DiskStep>>> = Arc::default();
        {
            let moments = Arc::clone(&moments);
            observed.observe(move |moment| moments.lock().unwrap().push(moment));
        }
        let store = Store::open_on((self.wrap)(observed.clone()), ENVIRONMENT, options())
            .map_err(|error| error.to_string())?;
        observed.stop_observing();
        check_report(&store)?;
        let mut found = ledger.clone();
        found.resolve(&store)?;
        found.check(&store, random)?;
        self.counts.entries_max = self.counts.entries_max.max(found.entries.len());

        if random.one_in(4) {
            damage::damage_after(disk, self.wrap, ledger, random, &mut self.counts.damaged)?;
        }
        if random.one_in(8) {
            self.counts.continued += 1;
            self.go_on(&observed, store, found, random)
                .map_err(|error| format!("going on: {error}"))?;
        }
        let moments = std::mem::take(&mut *moments.lock().unwrap());
        if depth < DEPTH_MAX && !moments.is_empty() && random.one_in(2) {
            let moment = &moments[random.index(moments.len())];
            let survival = Survival::ALL[random.index(Survival::ALL.len())];
            let cut = moment.disk.power_cut(survival, random.next());
            self.survive(&cut, ledger, depth + 1, random).map_err(|error| {
                let (operation, name) = (moment.operation, &moment.name);
                format!("then while recovering ({operation:?} {name}), {survival:?}: {error}")
            })?;
        }
        Ok(())
    }

    /// More appends after a cut, and one more cut.
    fn go_on(
        &self,
        disk: &FaultyDisk,
        store: Store,
        mut ledger: Ledger,
        random: &mut Random,
    ) -> Result<(), String> {
        for _ in 0..=random.below(3) {
            let bodies: Vec<_> = (0..=random.below(3)).map(|_| life::body(random, disk)).collect();
            let receipts = store.append_batch(&bodies).map_err(|error| error.to_string())?;
            ledger.acknowledge(&bodies, &receipts)?;
            if random.one_in(3) {
                store.checkpoint().map_err(|error| error.to_string())?;
            }
        }
        let survival = Survival::ALL[random.index(Survival::ALL.len())];
        let cut = if random.one_in(3) {
            store.close().map_err(|error| error.to_string())?;
            drop(store);
            disk.power_cut(survival, random.next())
        } else {
            disk.power_cut(survival, random.next())
        };
        let store = Store::open_on((self.wrap)(cut), ENVIRONMENT, options())
            .map_err(|error| error.to_string())?;
        check_report(&store)?;
        ledger.resolve(&store)?;
        ledger.check(&store, random)
    }
}
