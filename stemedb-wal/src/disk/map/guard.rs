//! What turns SIGBUS from a mapped file into an error.
//!
//! A page of a map that the disk can't read, or that was cut off the file, raises SIGBUS in the
//! thread that touches it, which ends the process unless it is handled. The handler here knows
//! which ranges are guarded. For an address in one of them it notes that the range has failed,
//! puts a page of zeros in the place of the one that can't be read, and returns: the thread goes
//! on, and asks after each copy whether the range has failed before it uses what it has. Any other
//! address goes to the handler that was there before, or ends the process as it would have.
//!
//! A handler that somebody installs later, without passing on what is not its own, takes this one
//! out of force: SIGBUS then ends the process, as it does without.

use std::{
    mem, ptr,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering},
    },
};

/// How many maps can be guarded at a time. A store has 7 of restart checkpoints at most, as many
/// while they are replaced, and 256 of segments.
const SLOTS: usize = 4096;

/// A range of addresses that is guarded, or none.
#[derive(Debug)]
struct Slot {
    taken: AtomicBool,
    failed: AtomicBool,
    start: AtomicUsize,
    /// 0 while it guards nothing: no address is below.
    end: AtomicUsize,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        taken: AtomicBool::new(false),
        failed: AtomicBool::new(false),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
    }
}; SLOTS];

/// The handler that was there before; `SIG_DFL` until it is known.
static EARLIER: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static EARLIER_FLAGS: AtomicI32 = AtomicI32::new(0);
static PAGE_LEN: AtomicUsize = AtomicUsize::new(0);

/// A range of addresses of a map, guarded until this is dropped.
#[derive(Debug)]
pub(super) struct Guarded {
    slot: &'static Slot,
}

impl Guarded {
    /// Guards a range. `None` if the table is full, or the system takes no handler.
    pub(super) fn new(start: usize, len: usize) -> Option<Self> {
        static INSTALLED: OnceLock<bool> = OnceLock::new();
        if !*INSTALLED.get_or_init(install) {
            return None;
        }
        let slot = TABLE.iter().find(|slot| {
            let taken =
                || slot.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed);
            !slot.taken.load(Ordering::Relaxed) && taken().is_ok()
        })?;
        slot.failed.store(false, Ordering::Relaxed);
        slot.start.store(start, Ordering::Relaxed);
        // Last: with it the range counts.
        slot.end.store(start + len, Ordering::Release);
        Some(Self { slot })
    }

    /// Whether a page in the range could not be read, since the range was guarded.
    pub(super) fn failed(&self) -> bool {
        self.slot.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.slot.end.store(0, Ordering::Release);
        self.slot.taken.store(false, Ordering::Release);
    }
}

/// Installs the handler. Whether that went well.
#[expect(unsafe_code, reason = "the standard library has no signal handlers: see SAFETY")]
fn install() -> bool {
    // SAFETY: These calls take pointers to local variables that live long enough, and the zeroed
    // structures are valid ones of plain numbers. The handler has the signature that `SA_SIGINFO`
    // asks for, and does what a handler may do.
    unsafe {
        let Ok(page_len) = usize::try_from(libc::sysconf(libc::_SC_PAGESIZE)) else {
            return false;
        };
        PAGE_LEN.store(page_len, Ordering::Relaxed);
        let mut earlier: libc::sigaction = mem::zeroed();
        if libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut earlier) != 0 {
            return false;
        }
        EARLIER_FLAGS.store(earlier.sa_flags, Ordering::Relaxed);
        EARLIER.store(earlier.sa_sigaction, Ordering::Release);
        let mut action: libc::sigaction = mem::zeroed();
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
        action.sa_sigaction = handler as usize;
        // On the stack for signals, if the thread has one, as the standard library's own handler.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) == 0
    }
}

/// Does only what may be done in a signal handler: atomic operations and system calls.
#[expect(unsafe_code, reason = "what a signal is about comes by address: see SAFETY")]
extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: The kernel gives a valid `info` to a handler that was installed with `SA_SIGINFO`.
    let address = unsafe { (*info).si_addr() }.addr();
    let mut guarded = false;
    // All of the table: a slot that changes hands at this moment may match by mistake, and then
    // the range of another file counts as failed as well. That is only a file read again.
    for slot in &TABLE {
        let end = slot.end.load(Ordering::Acquire);
        if slot.start.load(Ordering::Relaxed) <= address && address < end {
            // Before the page is replaced: who reads the new one finds that it failed.
            slot.failed.store(true, Ordering::SeqCst);
            guarded = true;
        }
    }
    if guarded && replace_page(address) {
        return;
    }
    pass_on(signal, info, context);
}

/// Maps a page of zeros in the place of the one that has this address.
#[expect(unsafe_code, reason = "a page is replaced by its address: see SAFETY")]
fn replace_page(address: usize) -> bool {
    let page_len = PAGE_LEN.load(Ordering::Relaxed);
    let page = address - address % page_len;
    // SAFETY: The page lies in a guarded range, that is in a map of a file that lives at least as
    // long as the read that raised the signal. No reference to its bytes exists, so that they may
    // change. The call is a system call and nothing else.
    let mapped = unsafe {
        libc::mmap(
            ptr::with_exposed_provenance_mut(page),
            page_len,
            libc::PROT_READ,
            libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    mapped != libc::MAP_FAILED
}

/// Does what would have been done without this handler.
#[expect(unsafe_code, reason = "the earlier handler is known by its address: see SAFETY")]
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    type Informed = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
    type Plain = extern "C" fn(libc::c_int);
    let earlier = EARLIER.load(Ordering::Acquire);
    if earlier == libc::SIG_DFL || earlier == libc::SIG_IGN {
        // SAFETY: As in `install`. The instruction is repeated when this returns, and the signal
        // then ends the process.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = libc::SIG_DFL;
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
        return;
    }
    let informed = EARLIER_FLAGS.load(Ordering::Relaxed) & libc::SA_SIGINFO != 0;
    // SAFETY: The address is that of a handler which was installed before, and its flags say which
    // signature it has.
    unsafe {
        if informed {
            mem::transmute::<usize, Informed>(earlier)(signal, info, context);
        } else {
            mem::transmute::<usize, Plain>(earlier)(signal);
        }
    }
}
