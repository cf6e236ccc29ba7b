//! The harness that every concurrent measure shares: tasks or threads that append in a loop.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::contest::Sample;
use crate::latency::Latencies;

/// How many append at once.
pub(crate) const APPENDERS: u64 = 64;

/// Numbers apart enough that no two appenders ever share a body.
const STRIDE: u64 = 1 << 32;

/// Rate and latencies of one turn.
pub(crate) fn sample(mut latencies: Latencies, took: Duration) -> Sample {
    let rate = latencies.len() as f64 / took.as_secs_f64();
    let [p50, p99, max] = latencies.quantiles([0.5, 0.99, 1.0]);
    vec![("records/s", rate), ("p50 µs", p50 / 1e3), ("p99 µs", p99 / 1e3), ("max µs", max / 1e3)]
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
    let started = Instant::now();
    let end = started + span;
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
    Ok(sample(all, started.elapsed()))
}

/// The same with [`APPENDERS`] threads, for libraries that block.
pub(crate) fn blocking_appenders<A>(
    span: Duration,
    append: impl Fn(u64) -> A,
) -> Result<Sample, Failure>
where
    A: FnMut(u64) -> Result<(), Failure> + Send,
{
    let started = Instant::now();
    let end = started + span;
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
    Ok(sample(all, started.elapsed()))
}

/// One thread that commits batches of `batch` records in a loop until `span` is over.
pub(crate) fn batches(
    span: Duration,
    batch: u64,
    mut commit: impl FnMut(u64) -> Result<(), Failure>,
) -> Result<Sample, Failure> {
    let started = Instant::now();
    let mut latencies = Latencies::with_capacity(1 << 16);
    let mut before = started;
    let mut first = 0;
    while before - started < span {
        commit(first)?;
        first += batch;
        let after = Instant::now();
        latencies.push(after - before);
        before = after;
    }
    let mut sample = sample(latencies, started.elapsed());
    sample[0].1 *= batch as f64;
    Ok(sample)
}
