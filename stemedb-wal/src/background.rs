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
    {
        if rustix::process::getpriority_process(None).is_ok_and(|before| before < nice) {
            let _ = rustix::process::setpriority_process(None, nice);
        }
        lengthen_slice();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = nice;
}

/// Asks for the longest slice of processor time that there is, which makes the calling thread the
/// last to be due: whatever wakes up with an ordinary one goes before it at once, and does not wait
/// until an ordinary slice is over (3 ms on two processors). Linux has that since 6.12; before, it
/// ignores the length.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "rustix has no calls for it: see SAFETY")]
fn lengthen_slice() {
    const SLICE_LEN_NS: u64 = 100_000_000;
    const LEN: libc::c_uint = 48;
    const NO_FLAGS: libc::c_uint = 0;
    const { assert!(size_of::<libc::sched_attr>() == LEN as usize) };
    let mut attributes = libc::sched_attr {
        size: 0,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most `LEN` bytes of the attributes, then reads as many, while
    // they live here, and changes nothing but how it schedules this thread.
    unsafe {
        let known =
            libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, LEN, NO_FLAGS) == 0;
        // The other policies have no slices, or a `sched_runtime` that means something else.
        if known && attributes.sched_policy == libc::SCHED_OTHER as u32 {
            attributes.sched_runtime = SLICE_LEN_NS;
            libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, NO_FLAGS);
        }
    }
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
