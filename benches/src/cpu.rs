//! Time that the processor spent on a thread or the process: what a busy neighbour does not
//! lengthen.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of the calling thread so far.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// The processor time of all threads of this process so far.
pub(crate) fn process_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// What `call` gives, and the processor time that it took.
pub(crate) fn timed<T>(call: impl FnOnce() -> T) -> (T, Duration) {
    let before = thread_time();
    let given = call();
    (given, thread_time().saturating_sub(before))
}

/// Takes what was used before out of the processor's caches, as it would be in a process that does
/// other things between two sessions.
pub(crate) fn cool(bytes: &mut Vec<u64>) {
    const WORDS: usize = (128 << 20) / 8;
    bytes.resize(WORDS, 0);
    for (at, word) in bytes.iter_mut().enumerate().step_by(8) {
        *word = word.wrapping_add(at as u64);
    }
    std::hint::black_box(bytes);
}
