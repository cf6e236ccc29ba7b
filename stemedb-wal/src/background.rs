//! Threads whose work nobody waits for.

/// Lets the calling thread give way to all others where the machine is busy, where the system knows
/// priorities of threads: Linux.
pub fn lower_priority() {
    // A third of the share of a thread as threads are begun: those that hold a lock for a moment
    // must not hold it for long.
    give_way(5);
}

/// The same, to the last: for what computes a lot beside others, and holds nothing that they wait
/// for. Where all processors are busy it gets a share of one in seventy.
///
/// Linux lets a thread that wakes up wait until the one that runs has had its slice, 4 ms say,
/// unless that one has had more than its share by then: which at this priority is at once.
pub fn lowest_priority() {
    give_way(19);
}

/// Lowers the priority of the calling thread, never raises it.
fn give_way(nice: i32) {
    // To give way is always allowed, and a process that gives way more keeps to that. Without, the
    // work is done as other threads' is.
    #[cfg(target_os = "linux")]
    if rustix::process::getpriority_process(None).is_ok_and(|before| before < nice) {
        let _ = rustix::process::setpriority_process(None, nice);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_gives_way() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let lowered = |lower: fn()| {
            let lowered = std::thread::spawn(move || {
                lower();
                nice()
            });
            lowered.join().unwrap()
        };
        assert_eq!(lowered(lower_priority), before.max(5));
        assert_eq!(lowered(lowest_priority), 19);
        assert_eq!(nice(), before);
    }
}
