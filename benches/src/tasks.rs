//! The harness that every concurrent measure shares: tasks or threads that append in a loop.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::contest::Sample;
use crate::cpu;
use crate::latency::Latencies;

/// How many append at once.
pub(crate) const APPENDERS: u64 = 64;

/// Numbers apart enough that no two appenders ever share a body.
const STRIDE: u64 = 1 << 32;

/// When a turn began, on the clock and in processor time.
pub(crate) struct Turn {
    pub(crate) began: Instant,
    cpu: Duration,
}

impl Turn {
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), cpu: cpu::process_time() }
    }

    /// Rate, latencies and processor time of the turn, which is over.
    pub(crate) fn sample(&self, mut latencies: Latencies) -> Sample {
        let took = self.began.elapsed().as_secs_f64();
        let cpu = (cpu::process_time() - self.cpu).as_secs_f64();
        let rate = latencies.len() as f64 / took;
        let [p50, p99, max] = latencies.quantiles([0.5, 0.99, 1.0]);
        vec![
            ("records/s", rate),
            ("p50 µs", p50 / 1e3),
            ("p99 µs", p99 / 1e3),
            ("max µs", max / 1e3),
            ("cores busy", cpu / took),
        ]
    }
}

/// Runs [`APPENDERS`] tasks on a runtime with a worker for each core; each awaits `append(number)`
/// in a loop until `span` is over.
pub(crate) fn async_appenders<A, F>(span: Duration, append: A) -> Result<Sample, Failure>
where
    A: Fn(u64) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let append = Arc::new(append);
    let turn = Turn::begin();
    let end = turn.began + span;
    let tasks: Vec<_> = (0..APPENDERS)
        .map(|appender| {
            let append = Arc::clone(&append);
            runtime.spawn(async move {
                let mut latencies = Latencies::with_capacity(1 << 16);
                let mut before = Instant::now();
                for number in appender * STRIDE.. {
                    append(number).await?;
                    let after = Instant::now();
                    latencies.push(after - before);
                    before = after;
                    if after >= end {
                        break;
                    }
                }
                Ok::<_, Failure>(latencies)
            })
        })
        .collect();
    let mut all = Latencies::default();
    runtime.block_on(async {
        for task in tasks {
            all.append(task.await??);
        }
        Ok::<_, Failure>(())
    })?;
    Ok(turn.sample(all))
}

/// The same with [`APPENDERS`] threads, for libraries that block.
pub(crate) fn blocking_appenders<A>(
    span: Duration,
    append: impl Fn(u64) -> A,
) -> Result<Sample, Failure>
where
    A: FnMut(u64) -> Result<(), Failure> + Send,
{
    let turn = Turn::begin();
    let end = turn.began + span;
    let all = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..APPENDERS)
            .map(|appender| {
                let mut append = append(appender);
                scope.spawn(move || {
                    let mut latencies = Latencies::with_capacity(1 << 16);
                    let mut before = Instant::now();
                    for number in appender * STRIDE.. {
                        append(number)?;
                        let after = Instant::now();
                        latencies.push(after - before);
                        before = after;
                        if after >= end {
                            break;
                        }
                    }
                    Ok::<_, Failure>(latencies)
                })
            })
            .collect();
        let mut all = Latencies::default();
        for thread in threads {
            all.append(thread.join().map_err(|_| "an appending thread panicked")??);
        }
        Ok::<_, Failure>(all)
    })?;
    Ok(turn.sample(all))
}

/// One thread that commits batches of `batch` records in a loop until `span` is over.
pub(crate) fn batches(
    span: Duration,
    batch: u64,
    mut commit: impl FnMut(u64) -> Result<(), Failure>,
) -> Result<Sample, Failure> {
    let turn = Turn::begin();
    let mut latencies = Latencies::with_capacity(1 << 16);
    let mut before = turn.began;
    let mut first = 0;
    while before - turn.began < span {
        commit(first)?;
        first += batch;
        let after = Instant::now();
        latencies.push(after - before);
        before = after;
    }
    let mut sample = turn.sample(latencies);
    sample[0].1 *= batch as f64;
    Ok(sample)
}
