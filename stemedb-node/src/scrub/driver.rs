//! Drives the check of a store: as a part of a node, or once.

use std::{
    collections::VecDeque,
    future::Future,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use stemedb_merkle::AssertionId;
use stemedb_store::store::uptime;
use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
    time::{sleep, timeout},
};

use super::{Found, Outcome, Rate, Scrub, Step};
use crate::{
    options::ScrubPolicy,
    status::{ScrubStatus, unix_seconds},
};
use stemedb_store::{
    Timestamp,
    error::ReadError,
    store::{Store, lock},
};

/// Findings that are kept.
const FINDINGS_MAX: usize = 256;

/// The longest pause without a look at the clock, which may be set meanwhile.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often it is tried again to heal what no peer had the body for.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// After a disk that failed.
const RETRY_PAUSE: Duration = Duration::from_secs(10);

/// Source of bodies that are damaged here: the peers of a node, say.
pub trait Donor: Send + Sync {
    /// The body of an assertion, if anybody has it. It need not be checked: the store does.
    fn body(&self, id: &AssertionId) -> impl Future<Output = Option<Vec<u8>>> + Send;
}

/// Status of the check of a store. Clones show the same.
#[derive(Clone, Debug, Default)]
pub struct View(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    index: u64,
    position: u64,
    began: Option<u64>,
    last_pass: Option<u64>,
    damaged: u64,
    healed: u64,
    bytes: u64,
    passes: u64,
    findings: VecDeque<Found>,
}

impl View {
    /// For the status of a node.
    pub fn status(&self) -> ScrubStatus {
        let seen = lock(&self.0);
        let shown = |ntp64| unix_seconds(Timestamp::from_ntp64(ntp64));
        ScrubStatus {
            position: seen.index,
            began: seen.began.map(shown),
            last_pass: seen.last_pass.map(shown),
            damaged: seen.damaged,
            healed: seen.healed,
        }
    }

    /// The last things that were found damaged, oldest first, at most 256, each place once.
    pub fn findings(&self) -> Vec<Found> {
        lock(&self.0).findings.iter().cloned().collect()
    }

    /// How much of what was found last at each place of the log is not healed.
    pub fn unhealed(&self) -> usize {
        lock(&self.0).findings.iter().filter(|found| found.in_log && !found.is_healed()).count()
    }

    /// How many bytes were read since the node began.
    pub fn bytes_read(&self) -> u64 {
        lock(&self.0).bytes
    }

    /// How far the pass is, in bytes of the log.
    pub fn position(&self) -> u64 {
        lock(&self.0).position
    }

    fn note(&self, scrub: &Scrub, store: &Store, step: &Step) {
        let mut seen = lock(&self.0);
        seen.index = scrub.index(store);
        seen.position = if step.pass_ended { store.log_end().get() } else { scrub.position() };
        seen.began = scrub.began();
        seen.last_pass = scrub.last_pass().map(|(_, ended)| ended);
        seen.bytes += step.read;
        seen.passes += u64::from(step.pass_ended);
        seen.damaged += step.faults.len() as u64;
    }

    fn keep(&self, found: &Found) {
        let mut seen = lock(&self.0);
        seen.healed += u64::from(found.is_healed());
        // The same place again: what is known of it now.
        let same = |kept: &Found| (kept.position, kept.id) == (found.position, found.id);
        seen.findings.retain(|kept| !same(kept));
        seen.findings.push_back(found.clone());
        if seen.findings.len() > FINDINGS_MAX {
            seen.findings.pop_front();
        }
    }
}

/// Checks a store for as long as a node runs, pass after pass, at the rate and in the rhythm of
/// `policy`; not at all while that is `None`. Ends with `stop`.
///
/// Damage is logged as an error, healed with what `donor` has, and logged again.
pub async fn run<D: Donor>(
    store: Arc<Store>,
    mut policy: watch::Receiver<Option<ScrubPolicy>>,
    donor: D,
    view: View,
    stop: impl Future<Output = ()>,
) {
    let work = async {
        let opening = Arc::clone(&store);
        let Ok(mut scrub) = spawn_blocking(move || Scrub::open(&opening)).await else { return };
        let mut rate = Rate::new(None);
        let (mut retried, mut passed) = (uptime(), uptime());
        loop {
            if uptime().saturating_sub(retried) >= RETRY_AFTER {
                retried = uptime();
                match retry(scrub, &store, &donor, &view).await {
                    Ok(next) => scrub = next,
                    Err(error) => {
                        tracing::error!(%error, "the check of the store ended");
                        return;
                    }
                }
            }
            let current = *policy.borrow_and_update();
            let pause = match current {
                None => Duration::MAX,
                Some(policy) => {
                    let since = uptime().saturating_sub(passed);
                    until_next_pass(&scrub, &policy, store.wall_clock(), since)
                }
            };
            if !pause.is_zero() {
                // A sender that is gone changes nothing any more.
                if let Ok(Err(_)) = timeout(pause.min(PAUSE_MAX), policy.changed()).await {
                    sleep(pause.min(PAUSE_MAX)).await;
                }
                continue;
            }
            rate.set(current.map(|policy| policy.bytes_per_second));
            match turn(scrub, &store, rate.budget(), &donor, &view).await {
                Ok((next, outcome)) => {
                    scrub = next;
                    match outcome {
                        Ok(done) => {
                            if done.pass_ended {
                                passed = uptime();
                            }
                            rate.wait(done.read).await;
                        }
                        Err(error) => {
                            tracing::error!(%error, "cannot read the store to check it");
                            sleep(RETRY_PAUSE).await;
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the check of the store ended");
                    return;
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = stop => {}
    }
}

/// How long to wait for the time of the next pass, if none is under way. `since` is how long ago
/// the last one ended, or this process began.
fn until_next_pass(
    scrub: &Scrub,
    policy: &ScrubPolicy,
    now: Option<Timestamp>,
    since: Duration,
) -> Duration {
    let Some((began, _)) = scrub.last_pass().filter(|_| scrub.began().is_none()) else {
        return Duration::ZERO;
    };
    let since = match now.map(|now| now.as_ntp64().checked_sub(began)) {
        Some(Some(since)) => Duration::from_secs(since >> 32),
        // By a clock that was set back the last one is still to come, and when it was is not known.
        Some(None) => return Duration::ZERO,
        // Without a clock as well there is one in each interval.
        None => since,
    };
    policy.interval.saturating_sub(since)
}

/// Checks a whole store once, from the front. Returns what was found damaged, with what came of it;
/// ends early, and then not as a whole pass, with `stop`.
///
/// # Errors
///
/// If the disk fails, or the secret for the ids is missing.
pub async fn pass<D: Donor>(
    store: &Arc<Store>,
    bytes_per_second: Option<u64>,
    donor: &D,
    view: &View,
    stop: impl Future<Output = ()>,
) -> Result<Vec<Found>, ReadError> {
    let mut stop = pin!(stop);
    let mut scrub = Scrub::restart(store);
    let rate = Rate::new(bytes_per_second);
    let mut all = Vec::new();
    loop {
        let turned = tokio::select! {
            turned = turn(scrub, store, rate.budget(), donor, view) => turned,
            () = &mut stop => return Ok(all),
        };
        let (next, outcome) = turned.map_err(|_| stopped())?;
        scrub = next;
        let done = outcome?;
        let read = done.read;
        let ended = done.pass_ended;
        all.extend(done.faults);
        if ended {
            return Ok(all);
        }
        tokio::select! {
            () = rate.wait(read) => {}
            () = &mut stop => return Ok(all),
        }
    }
}

/// A thread of the check has died, which it has no reason to.
fn stopped() -> ReadError {
    let source = std::io::Error::other("a thread has died");
    stemedb_wal::error::ReadError::Index(Box::new(source)).into()
}

type Turned = (Scrub, Result<Step, ReadError>);

/// Tries again to heal what nobody had the body for: peers come and go.
async fn retry<D: Donor>(
    mut scrub: Scrub,
    store: &Arc<Store>,
    donor: &D,
    view: &View,
) -> Result<Scrub, JoinError> {
    let waits = |found: &Found| found.in_log && matches!(found.outcome, Outcome::NoDonor);
    for mut found in view.findings().into_iter().filter(waits) {
        let Some(id) = found.id else { continue };
        let Some(body) = donor.body(&id).await else { continue };
        let healing = Arc::clone(store);
        (scrub, found) = spawn_blocking(move || {
            scrub.heal(&healing, &mut found, Some(&body));
            (scrub, found)
        })
        .await?;
        tracing::warn!(entry = found.index.get(), "{found}");
        view.keep(&found);
    }
    Ok(scrub)
}

/// One step, and the healing of what it found.
async fn turn<D: Donor>(
    mut scrub: Scrub,
    store: &Arc<Store>,
    budget: u64,
    donor: &D,
    view: &View,
) -> Result<Turned, JoinError> {
    let reading = Arc::clone(store);
    let (next, outcome) = spawn_blocking(move || {
        let outcome = scrub.step(&reading, budget);
        (scrub, outcome)
    })
    .await?;
    scrub = next;
    let mut step = match outcome {
        Ok(step) => step,
        Err(error) => return Ok((scrub, Err(error))),
    };
    view.note(&scrub, store, &step);
    for found in &step.faults {
        tracing::error!(
            id = found.id.as_ref().map(tracing::field::display),
            entry = found.index.get(),
            "damaged on the disk: {}",
            found.error
        );
        view.keep(found);
    }
    let mut faults = std::mem::take(&mut step.faults);
    for found in &mut faults {
        let body = match &found.id {
            Some(id) => donor.body(id).await,
            None => None,
        };
        let (healing, mut at_work) = (Arc::clone(store), found.clone());
        let (next, settled) = spawn_blocking(move || {
            scrub.heal(&healing, &mut at_work, body.as_deref());
            (scrub, at_work)
        })
        .await?;
        scrub = next;
        *found = settled;
        if found.is_healed() {
            tracing::warn!(entry = found.index.get(), "{found}");
        } else {
            tracing::error!(entry = found.index.get(), "still damaged: {found}");
        }
        view.keep(found);
    }
    step.faults = faults;
    Ok((scrub, Ok(step)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use stemedb_store::clock::{NTP64, READING_LIMIT};
    use stemedb_wal::disk::MemoryDisk;

    use super::*;
    use stemedb_store::{Environment, Options, store::ENVIRONMENT};

    static CLOCK: AtomicU64 = AtomicU64::new(0);

    /// One after which the clock was put right is followed by others, also in the next process.
    #[test]
    fn a_pass_under_a_bad_clock_is_not_the_last() {
        let clock = || NTP64(CLOCK.load(Ordering::Relaxed));
        let options = Options::default().threads(false);
        let disk = Arc::new(MemoryDisk::new());
        let store = Store::open_on(disk, Environment { clock, ..ENVIRONMENT }, options).unwrap();
        store.append(b"first").unwrap();
        let hour = Duration::from_secs(3600);
        let policy = ScrubPolicy::default().interval(hour).bytes_per_second(1 << 20);
        let (year, now) = (31_536_000_u64 << 32, 50 * (31_536_000_u64 << 32));
        let mut scrub = Scrub::open(&store);
        for wrong in [0, 80 * year, u64::MAX >> 3 << 3, u64::MAX] {
            CLOCK.store(wrong, Ordering::Relaxed);
            while !scrub.step(&store, 1 << 20).unwrap().pass_ended {}
            let wait =
                |scrub: &Scrub, since| until_next_pass(scrub, &policy, store.wall_clock(), since);
            assert_eq!(wait(&scrub, Duration::ZERO), hour, "{wrong}: one in each interval");
            if wrong == 0 || wrong == u64::MAX {
                assert_eq!(wait(&scrub, hour), Duration::ZERO, "{wrong}");
            }
            CLOCK.store(now, Ordering::Relaxed);
            for scrub in [&scrub, &Scrub::open(&store)] {
                assert_eq!(wait(scrub, Duration::ZERO), Duration::ZERO, "{wrong}: due at once");
                assert!(scrub.last_pass().unwrap().0 < READING_LIMIT.as_ntp64());
            }
            while !scrub.step(&store, 1 << 20).unwrap().pass_ended {}
            assert_eq!(wait(&scrub, Duration::ZERO), hour, "{wrong}");
        }
    }
}
