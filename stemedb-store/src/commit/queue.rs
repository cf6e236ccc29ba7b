//! What waits to be written, with limits.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt, mem,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread,
    time::Duration,
};

use stemedb_merkle::Hash;

use super::{CommitOptions, Index, Ticket};
use stemedb_wal::log::Log;

/// Bodies that are appended together.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    ids: Vec<Hash>,
    /// One body's own vector, or several bodies behind one another.
    bytes: Vec<u8>,
    /// Where each body but the last ends.
    ends: Vec<usize>,
    single: Option<Hash>,
}

impl Submission {
    /// No bodies yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// No bodies yet, and room for so many with so many bytes together.
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Self {
            ids: Vec::with_capacity(records),
            bytes: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(records),
            single: None,
        }
    }

    /// One body, taken over as it is.
    pub fn one(id: Hash, body: Vec<u8>) -> Self {
        Self { ids: Vec::new(), bytes: body, ends: Vec::new(), single: Some(id) }
    }

    /// Adds a body.
    pub fn push(&mut self, id: Hash, body: &[u8]) {
        if let Some(first) = self.single.take() {
            self.ids.push(first);
            self.ends.push(self.bytes.len());
        }
        self.ids.push(id);
        self.bytes.extend_from_slice(body);
        self.ends.push(self.bytes.len());
    }

    /// How many bodies.
    pub fn len(&self) -> usize {
        if self.single.is_some() { 1 } else { self.ids.len() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes all bodies have together.
    pub fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// The bodies and their ids, in order.
    pub fn bodies(&self) -> impl Iterator<Item = (Hash, &[u8])> {
        let single = self.single.map(|id| (id, self.bytes.as_slice()));
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let spans = starts.zip(self.ends.iter().copied());
        let many = self
            .ids
            .iter()
            .zip(spans)
            .map(|(id, (start, end))| (*id, self.bytes.get(start..end).unwrap_or_default()));
        single.into_iter().chain(many)
    }
}

type Call<I> = Box<dyn FnOnce(&mut Log, &mut I) + Send>;

/// Something for the writer to do.
pub(crate) enum Request<I> {
    Append(Submission, Ticket),
    Call(Call<I>),
}

impl<I> fmt::Debug for Request<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Append(bodies, _) => f.debug_tuple("Append").field(&bodies.len()).finish(),
            Self::Call(_) => f.write_str("Call"),
        }
    }
}

/// Whether a request got in.
pub(crate) enum Admission<I> {
    /// It did, or the queue is closed and it has been told.
    Queued,
    /// There is no room. The task will be woken; under this number it waits until then.
    Full(Request<I>, u64),
}

#[derive(Debug)]
struct State<I> {
    requests: VecDeque<Request<I>>,
    records: usize,
    bytes: usize,
    /// Records that left the queue, and still count towards its limits.
    kept_records: usize,
    kept_bytes: usize,
    closed: bool,
    writer_waits: bool,
    /// It waits for work and for nothing else.
    without_timer: bool,
    threads_waiting: usize,
    /// Tasks that wait for room, by the numbers that they were given.
    tasks_waiting: BTreeMap<u64, Waker>,
    next_task: u64,
}

/// The queue between appenders and the writer.
#[derive(Debug)]
pub(crate) struct Queue<I> {
    state: Mutex<State<I>>,
    work: Condvar,
    room: Condvar,
    records_max: usize,
    bytes_max: usize,
}

/// How often the writer looks for new requests before it sleeps, after it has acknowledged several:
/// waking it up again costs more than their appenders take to come back.
const LOOKS_BEFORE_SLEEP: u32 = 100;

/// What ended the wait of the writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    /// Requests.
    Work,
    /// Somebody committed on their own.
    Kicked,
    /// Nothing came for the time that was given.
    Idle,
    /// The queue is empty and closed.
    Closed,
}

impl<I: Index> Queue<I> {
    pub(crate) fn new(options: &CommitOptions) -> Self {
        Self {
            state: Mutex::new(State {
                requests: VecDeque::new(),
                records: 0,
                bytes: 0,
                kept_records: 0,
                kept_bytes: 0,
                closed: false,
                writer_waits: false,
                without_timer: false,
                threads_waiting: 0,
                tasks_waiting: BTreeMap::new(),
                next_task: 0,
            }),
            work: Condvar::new(),
            room: Condvar::new(),
            records_max: options.queue_records_max,
            bytes_max: options.queue_bytes_max,
        }
    }

    /// Queues an append, once there is room.
    pub(crate) fn push_waiting(&self, request: Request<I>) {
        let mut state = self.state();
        while !state.closed && self.is_full(&state, &request) {
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
        request: Request<I>,
        waiting: Option<u64>,
        waker: &Waker,
    ) -> Admission<I> {
        let mut state = self.state();
        if !state.closed && self.is_full(&state, &request) {
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
    pub(crate) fn keep(&self, records: usize, bytes: usize) {
        let mut state = self.state();
        state.kept_records += records;
        state.kept_bytes += bytes;
    }

    /// Counts kept records no more.
    pub(crate) fn give_back(&self, records: usize, bytes: usize) {
        let mut state = self.state();
        state.kept_records = state.kept_records.saturating_sub(records);
        state.kept_bytes = state.kept_bytes.saturating_sub(bytes);
        self.tell_of_room(state);
    }

    /// Queues a call, which takes no room.
    pub(crate) fn push_call(&self, call: Call<I>) {
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
        let mut looks = if expected > 1 { LOOKS_BEFORE_SLEEP } else { 0 };
        while state.requests.is_empty() {
            if state.closed {
                return Waited::Closed;
            }
            if looks > 0 {
                looks -= 1;
                drop(state);
                thread::yield_now();
                state = self.state();
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
            let kicked = idle_after.is_none() && !mem::take(&mut state.without_timer);
            if state.requests.is_empty() && !state.closed {
                if timed_out {
                    return Waited::Idle;
                }
                if kicked {
                    return Waited::Kicked;
                }
            }
        }
        drop(self.gather(state, expected));
        Waited::Work
    }

    /// Takes all that waits now, in order.
    pub(crate) fn take(&self, requests: &mut VecDeque<Request<I>>) {
        self.empty(self.state(), requests);
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.state().requests.is_empty()
    }

    /// Lets the writer look anew how long to wait, if it waits for work alone.
    pub(crate) fn kick(&self) {
        let mut state = self.state();
        if mem::take(&mut state.without_timer) {
            drop(state);
            self.work.notify_one();
        }
    }

    fn empty(&self, mut state: MutexGuard<'_, State<I>>, requests: &mut VecDeque<Request<I>>) {
        mem::swap(&mut state.requests, requests);
        state.records = 0;
        state.bytes = 0;
        self.tell_of_room(state);
    }

    fn tell_of_room(&self, mut state: MutexGuard<'_, State<I>>) {
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
        mut state: MutexGuard<'a, State<I>>,
        expected: usize,
    ) -> MutexGuard<'a, State<I>> {
        const LOOKS_WITHOUT_NEWS_MAX: u32 = 100;
        let mut looks = 0;
        while state.requests.len() < expected && looks < LOOKS_WITHOUT_NEWS_MAX && !state.closed {
            let before = state.requests.len();
            drop(state);
            thread::yield_now();
            state = self.state();
            looks = if state.requests.len() > before { 0 } else { looks + 1 };
        }
        state
    }

    fn is_full(&self, state: &State<I>, request: &Request<I>) -> bool {
        let Request::Append(bodies, _) = request else { return false };
        let (records, held) = (state.records + state.kept_records, state.bytes + state.kept_bytes);
        // What is over the limits by itself gets in when it is alone.
        records > 0
            && (records + bodies.len() > self.records_max
                || held + bodies.bytes_len() > self.bytes_max)
    }

    fn push(&self, mut state: MutexGuard<'_, State<I>>, request: Request<I>) {
        if state.closed {
            // Dropping the request tells whoever waits for it.
            drop(state);
            drop(request);
            return;
        }
        if let Request::Append(bodies, _) = &request {
            state.records += bodies.len();
            state.bytes += bodies.bytes_len();
        }
        state.requests.push_back(request);
        let wake = mem::take(&mut state.writer_waits);
        drop(state);
        if wake {
            self.work.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<I>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the queue and drops what is in it when the writer goes, however it goes.
pub(crate) struct CloseOnDrop<'a, I: Index>(pub(crate) &'a Queue<I>);

impl<I: Index> Drop for CloseOnDrop<'_, I> {
    fn drop(&mut self) {
        self.0.close();
        let abandoned = mem::take(&mut self.0.state().requests);
        drop(abandoned);
    }
}
