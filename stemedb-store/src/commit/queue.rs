//! What waits to be written, with limits.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread,
    time::Duration,
};

use super::{CommitOptions, Priority, Submission, Ticket};
use crate::index::IndexWriter;
use stemedb_wal::log::Log;

type Call = Box<dyn FnOnce(&mut Log, &mut IndexWriter) + Send>;

/// Something for the writer to do.
pub(crate) enum Request {
    Append(Submission<'static>, Ticket),
    Call(Call),
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append(bodies, _) => f.debug_tuple("Append").field(&bodies.len()).finish(),
            Self::Call(_) => f.write_str("Call"),
        }
    }
}

/// Whether a request got in.
pub(crate) enum Admission {
    /// It did, or the queue is closed and it has been told.
    Queued,
    /// There is no room. The task will be woken; under this number it waits until then.
    Full(Request, u64),
}

/// What waits in one class.
#[derive(Debug, Default)]
struct Class {
    requests: VecDeque<Request>,
    records: usize,
    bytes: usize,
    /// Records that left the queue, and still count towards its limits.
    kept_records: usize,
    kept_bytes: usize,
    records_max: usize,
    bytes_max: usize,
}

impl Class {
    fn new(records_max: usize, bytes_max: usize) -> Self {
        Self { records_max, bytes_max, ..Self::default() }
    }

    fn has_room(&self, bodies: &Submission<'_>) -> bool {
        let (records, held) = (self.records + self.kept_records, self.bytes + self.kept_bytes);
        // What is over the limits by itself gets in when it is alone.
        records == 0
            || records + bodies.len() <= self.records_max
                && held + bodies.bytes_len() <= self.bytes_max
    }

    fn push(&mut self, request: Request) {
        if let Request::Append(bodies, _) = &request {
            self.records += bodies.len();
            self.bytes += bodies.bytes_len();
        }
        self.requests.push_back(request);
    }

    fn pop(&mut self) -> Option<Request> {
        let request = self.requests.pop_front()?;
        if let Request::Append(bodies, _) = &request {
            self.records -= bodies.len();
            self.bytes -= bodies.bytes_len();
        }
        Some(request)
    }

    /// Moves requests from the front until they have so many bytes of bodies, one at least.
    fn pop_into(&mut self, requests: &mut VecDeque<Request>, len: usize) {
        let mut taken = 0;
        while taken < len
            && let Some(request) = self.pop()
        {
            if let Request::Append(bodies, _) = &request {
                // An empty one counts too.
                taken += bodies.bytes_len() + bodies.len();
            }
            requests.push_back(request);
        }
    }
}

#[derive(Debug)]
struct State {
    own: Class,
    peer: Class,
    /// Commits for which the program is still taken to be appending.
    own_active: u32,
    /// Lone appends of the program that went before what waits of peers.
    alone: u32,
    /// How many commits still take what is queued without gathering: the processors are busy.
    ungathered: u32,
    closed: bool,
    writer_waits: bool,
    /// It waits for work and for nothing else.
    without_timer: bool,
    threads_waiting: usize,
    /// Tasks that wait for room, by the numbers that they were given.
    tasks_waiting: BTreeMap<u64, Waker>,
    next_task: u64,
}

impl State {
    fn class(&mut self, priority: Priority) -> &mut Class {
        match priority {
            Priority::Own => &mut self.own,
            Priority::Peer => &mut self.peer,
        }
    }

    fn has_room(&self, request: &Request) -> bool {
        match request {
            Request::Call(_) => true,
            Request::Append(bodies, _) => match bodies.priority() {
                Priority::Own => self.own.has_room(bodies),
                Priority::Peer => self.peer.has_room(bodies),
            },
        }
    }

    fn is_empty(&self) -> bool {
        self.own.requests.is_empty() && self.peer.requests.is_empty()
    }
}

/// About so many bytes of the program's bodies are taken by one commit: more would hardly cost less
/// each, and what is written after a commit waits for all of it to be synced.
pub(super) const OWN_COMMIT_LEN_MAX: usize = 4 << 20;

/// The most bytes of peers' bodies that one commit takes while the program appends nothing itself.
pub(super) const PEER_COMMIT_LEN_MAX: usize = 1 << 20;

/// The most bytes of peers' bodies that wait: two commits' worth.
pub(super) const PEER_BYTES_MAX: usize = 2 * PEER_COMMIT_LEN_MAX;

/// For so many commits after its last append the program is taken to be appending.
pub(super) const OWN_ACTIVE_COMMITS: u32 = 64;

/// So many lone appends of the program go before what waits of peers; then it waits with them, or
/// the writer might not get at the log for as long as a thread appends.
pub(super) const ALONE_MAX: u32 = 4;

/// The queue between appenders and the writer.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
    uptime: fn() -> Duration,
}

/// How often the writer looks for new requests before it sleeps, after it has acknowledged several:
/// waking it up again costs more than their appenders take to come back.
const SPIN_LIMIT: u32 = 100;

/// Number of commits without gathering after a yield that took longer than [`YIELD_TIME_MAX`]: on
/// busy processors a yield can take as long as ten syncs.
pub(super) const UNGATHERED_COMMITS: u32 = 256;

/// The longest that a yield takes on an idle processor.
const YIELD_TIME_MAX: Duration = Duration::from_micros(200);

/// What ended the wait of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Requests.
    Work,
    /// Somebody committed on their own.
    TimerReset,
    /// Nothing came for the time that was given.
    Idle,
    /// The queue is empty and closed.
    Closed,
}

impl Queue {
    pub(crate) fn new(options: &CommitOptions) -> Self {
        Self {
            uptime: options.uptime,
            state: Mutex::new(State {
                own: Class::new(options.queue_records_max, options.queue_bytes_max),
                peer: Class::new(options.queue_records_max, PEER_BYTES_MAX),
                own_active: 0,
                alone: 0,
                ungathered: 0,
                closed: false,
                writer_waits: false,
                without_timer: false,
                threads_waiting: 0,
                tasks_waiting: BTreeMap::new(),
                next_task: 0,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
        }
    }

    /// Queues an append, once there is room.
    pub(crate) fn push_waiting(&self, request: Request) {
        let mut state = self.state();
        while !state.closed && !state.has_room(&request) {
            state.threads_waiting += 1;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.threads_waiting -= 1;
        }
        self.push(state, request);
    }

    /// Queues an append if there is room. A task that was told to wait before gives its number
    /// again.
    pub(crate) fn try_push(
        &self,
        request: Request,
        waiting: Option<u64>,
        waker: &Waker,
    ) -> Admission {
        let mut state = self.state();
        if !state.closed && !state.has_room(&request) {
            let number = waiting.unwrap_or(state.next_task);
            state.next_task = state.next_task.max(number + 1);
            state.tasks_waiting.insert(number, waker.clone());
            return Admission::Full(request, number);
        }
        if let Some(number) = waiting {
            state.tasks_waiting.remove(&number);
        }
        self.push(state, request);
        Admission::Queued
    }

    /// Forgets a task that waited for room.
    pub(crate) fn forget(&self, number: u64) {
        let forgotten = self.state().tasks_waiting.remove(&number);
        drop(forgotten);
    }

    /// Counts records that leave the queue towards its limits, until they are given back.
    pub(crate) fn keep(&self, priority: Priority, records: usize, bytes: usize) {
        let mut state = self.state();
        let class = state.class(priority);
        class.kept_records += records;
        class.kept_bytes += bytes;
    }

    /// Counts kept records no more.
    pub(crate) fn give_back(&self, priority: Priority, records: usize, bytes: usize) {
        let mut state = self.state();
        let class = state.class(priority);
        class.kept_records -= records;
        class.kept_bytes -= bytes;
        self.notify_of_room(state);
    }

    /// Queues a call, which takes no room.
    pub(crate) fn push_call(&self, call: Call) {
        self.push(self.state(), Request::Call(call));
    }

    /// Lets nothing in any more. What is in it is still done.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let tasks = mem::take(&mut state.tasks_waiting);
        drop(state);
        self.work.notify_one();
        self.room.notify_all();
        tasks.into_values().for_each(Waker::wake);
    }

    /// Waits for requests.
    ///
    /// `expected` is how many the last commit acknowledged: those who were waiting then tend to
    /// come back at once, and are waited for as long as more of them arrive at each look. Without
    /// that, a few early ones would get a sync of their own, and all others wait for two.
    pub(crate) fn wait(&self, expected: usize, idle_after: Option<Duration>) -> Waited {
        let mut state = self.state();
        let expected = if state.ungathered > 0 { 0 } else { expected };
        state.ungathered = state.ungathered.saturating_sub(1);
        let mut looks = if expected > 1 { SPIN_LIMIT } else { 0 };
        while state.is_empty() {
            if state.closed {
                return Waited::Closed;
            }
            if looks > 0 {
                let soon;
                (state, soon) = self.yield_to_appenders(state);
                looks = if soon { looks - 1 } else { 0 };
                continue;
            }
            state.writer_waits = true;
            let timed_out;
            (state, timed_out) = match idle_after {
                None => {
                    state.without_timer = true;
                    (self.work.wait(state).unwrap_or_else(PoisonError::into_inner), false)
                }
                Some(time) => {
                    let (state, timeout) =
                        self.work.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner);
                    (state, timeout.timed_out())
                }
            };
            state.writer_waits = false;
            let reset = idle_after.is_none() && !mem::take(&mut state.without_timer);
            if state.is_empty() && !state.closed {
                if timed_out {
                    return Waited::Idle;
                }
                if reset {
                    return Waited::TimerReset;
                }
            }
        }
        drop(self.gather(state, expected));
        Waited::Work
    }

    /// Takes the appends and calls of the program that wait now, in order, up to the length of a
    /// commit, and behind them what is peers' turn. Returns how many are the program's.
    pub(crate) fn take(&self, requests: &mut VecDeque<Request>) -> usize {
        let mut state = self.state();
        state.own.pop_into(requests, OWN_COMMIT_LEN_MAX);
        let own = requests.len();
        state.alone = 0;
        state.own_active =
            if own > 0 { OWN_ACTIVE_COMMITS } else { state.own_active.saturating_sub(1) };
        let peer_len = if state.own_active > 0 { 1 } else { PEER_COMMIT_LEN_MAX };
        state.peer.pop_into(requests, peer_len);
        self.notify_of_room(state);
        own
    }

    /// Whether somebody may commit bodies of this class without waiting in it: nobody is before
    /// them.
    pub(crate) fn admits_alone(&self, priority: Priority) -> bool {
        let mut state = self.state();
        if priority == Priority::Own {
            state.own_active = OWN_ACTIVE_COMMITS;
        }
        if !state.own.requests.is_empty() {
            return false;
        }
        if state.peer.requests.is_empty() {
            state.alone = 0;
            return true;
        }
        if priority == Priority::Peer || state.alone == ALONE_MAX {
            return false;
        }
        state.alone += 1;
        true
    }

    /// Lets the writer compute again how long to wait, if it waits for work alone.
    pub(crate) fn reset_timer(&self) {
        let mut state = self.state();
        if mem::take(&mut state.without_timer) {
            drop(state);
            self.work.notify_one();
        }
    }

    fn notify_of_room(&self, mut state: MutexGuard<'_, State>) {
        let tasks = mem::take(&mut state.tasks_waiting);
        let threads = state.threads_waiting;
        drop(state);
        if threads > 0 {
            self.room.notify_all();
        }
        tasks.into_values().for_each(Waker::wake);
    }

    fn gather<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        expected: usize,
    ) -> MutexGuard<'a, State> {
        const LOOKS_WITHOUT_NEWS_MAX: u32 = 100;
        let mut looks = 0;
        while state.own.requests.len() < expected
            && looks < LOOKS_WITHOUT_NEWS_MAX
            && !state.closed
            && state.ungathered == 0
        {
            let before = state.own.requests.len();
            (state, _) = self.yield_to_appenders(state);
            looks = if state.own.requests.len() > before { 0 } else { looks + 1 };
        }
        state
    }

    /// Yields the processor to appenders; whether it was back soon.
    fn yield_to_appenders<'a>(
        &'a self,
        state: MutexGuard<'a, State>,
    ) -> (MutexGuard<'a, State>, bool) {
        drop(state);
        let before = (self.uptime)();
        thread::yield_now();
        let soon = (self.uptime)() <= before + YIELD_TIME_MAX;
        let mut state = self.state();
        if !soon {
            state.ungathered = UNGATHERED_COMMITS;
        }
        (state, soon)
    }

    fn push(&self, mut state: MutexGuard<'_, State>, request: Request) {
        if state.closed {
            // Dropping the request tells the one who waits for it.
            drop(state);
            drop(request);
            return;
        }
        let priority = match &request {
            Request::Append(bodies, _) => bodies.priority(),
            Request::Call(_) => Priority::Own,
        };
        state.class(priority).push(request);
        let wake = mem::take(&mut state.writer_waits);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the queue and drops what is in it when the writer goes, however it goes.
pub(crate) struct CloseOnDrop<'a>(pub(crate) &'a Queue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        let mut state = self.0.state();
        let abandoned = (mem::take(&mut state.own.requests), mem::take(&mut state.peer.requests));
        drop(state);
        drop(abandoned);
    }
}
