//! Threads whose work nobody waits for.

/// Lets the calling thread give way to all others where the machine is busy, where the system knows
/// priorities of threads: Linux.
pub fn lower_priority() {
    /// A third of the share of a thread as threads are begun: those that hold a lock for a moment
    /// must not hold it for long.
    #[cfg(target_os = "linux")]
    const NICE: i32 = 5;
    // To give way is always allowed, and a process that gives way more keeps to that. Without, the
    // work is done as other threads' is.
    #[cfg(target_os = "linux")]
    if rustix::process::getpriority_process(None).is_ok_and(|nice| nice < NICE) {
        let _ = rustix::process::setpriority_process(None, NICE);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_gives_way() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        std::thread::spawn(move || {
            lower_priority();
            assert!(nice() > before || before >= 5);
        })
        .join()
        .unwrap();
        assert_eq!(nice(), before);
    }
}
