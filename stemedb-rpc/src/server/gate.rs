//! Gate that every call passes before any of its message is read: what its token permits, the
//! number of calls, and whether the server still takes any.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body::{Frame, SizeHint};
use stemedb_sync::memory::Reservation;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Status,
    body::Body,
    codegen::{Bytes, Service, http},
    server::NamedService,
};

use super::{
    access::Right,
    addresses::{Addresses, Place},
    connection::Caller,
    credentials::Credentials,
    date,
    phase::{Phase, Phases},
    rejection::{Rejection, Rejections},
};
use crate::Reason;

/// Calls whose answers come at the end of what they do: their handlers see to it that they don't
/// stall.
const WITHOUT_DEADLINE: [&str; 2] =
    ["/stemedb.v1.ReplicationService/Push", "/stemedb.v1.NodeService/Control"];

/// Call that opens a session; the other calls of the service belong to one.
const OPENING: &str = "/stemedb.v1.ReplicationService/Hello";
const SESSION: &str = "/stemedb.v1.ReplicationService/";

/// State that the gates of all services share.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) credentials: Credentials,
    pub(crate) rejections: Rejections,
    /// Calls of clients, and all that are none of peers.
    pub(crate) clients: Calls,
    /// Calls of peers: what these do not take leaves clients their calls.
    pub(crate) peers: Calls,
    /// How many calls were let in.
    pub(crate) admitted: AtomicU64,
    pub(crate) call_time_max: Duration,
    pub(crate) idle_time_max: Duration,
    pub(crate) phases: Phases,
}

/// Calls that are counted together.
#[derive(Debug)]
pub(crate) struct Calls {
    room: Arc<Semaphore>,
    max: usize,
    callers: Addresses,
    per_address_max: usize,
}

impl Calls {
    pub(crate) fn new(max: usize, per_address_max: usize) -> Self {
        let (room, callers) = (Arc::new(Semaphore::new(max)), Addresses::default());
        Self { room, max, callers, per_address_max }
    }

    fn running(&self) -> usize {
        self.max - self.room.available_permits()
    }

    fn permit(&self, caller: &Caller) -> Result<CallPermit, Reason> {
        let place = self.callers.place(caller.address(), self.per_address_max);
        let place = place.ok_or(Reason::Busy)?;
        let permit = Arc::clone(&self.room).try_acquire_owned().map_err(|_| Reason::Busy)?;
        Ok(CallPermit(Arc::new((permit, place))))
    }
}

impl Rules {
    /// How many calls are under way.
    pub(crate) fn running(&self) -> usize {
        self.clients.running() + self.peers.running()
    }

    /// How many calls were let in so far.
    pub(crate) fn admitted(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed)
    }

    fn admit<B>(&self, request: &http::Request<B>) -> Result<CallPermit, Status> {
        // Every connection of the listener has a caller.
        let caller = request.extensions().get::<Caller>().ok_or(Reason::Failed)?;
        caller.check()?;
        let path = request.uri().path();
        let token = request.headers().get("authorization").map(http::HeaderValue::as_bytes);
        let right = Right::of(path);
        self.credentials.access().check(right, token).inspect_err(|reason| {
            let rejection = match reason {
                Reason::Forbidden => Rejection::Forbidden,
                _ => Rejection::Token,
            };
            self.rejections.note(
                Some(caller.address()),
                rejection,
                match rejection {
                    Rejection::Forbidden => "its token does not permit the call",
                    _ => "it shows no token, or a wrong one",
                },
            );
        })?;
        let goes_on = path.starts_with(SESSION) && path != OPENING;
        if self.phases.now() != Phase::Serving && !goes_on {
            return Err(Reason::Stopping.into());
        }
        let calls = if right == Right::Peer { &self.peers } else { &self.clients };
        let permit = calls.permit(caller)?;
        self.admitted.fetch_add(1, Ordering::Relaxed);
        Ok(permit)
    }
}

/// Counts as a call until the last clone is dropped. Goes along with the request, so that a stream
/// counts for as long as it is fed.
#[derive(Clone, Debug)]
pub(crate) struct CallPermit(
    #[expect(dead_code, reason = "held, never read")] Arc<(OwnedSemaphorePermit, Place)>,
);

/// A service behind the gate.
#[derive(Clone, Debug)]
pub(crate) struct Gate<S> {
    inner: S,
    rules: Arc<Rules>,
    /// Whether it answers without a token, while the server stops, and beyond the number of calls.
    open: bool,
}

impl<S> Gate<S> {
    pub(crate) fn new(inner: S, rules: &Arc<Rules>) -> Self {
        Self { inner, rules: Arc::clone(rules), open: false }
    }

    /// A gate that lets in every caller, also when the server has as many calls as it allows: for
    /// what must be answered then, and costs little.
    pub(crate) fn open(inner: S, rules: &Arc<Rules>) -> Self {
        Self { inner, rules: Arc::clone(rules), open: true }
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Gate<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(caller) = request.extensions().get::<Caller>() {
            caller.note_call();
        }
        let permit = match (!self.open).then(|| self.rules.admit(&request)).transpose() {
            Ok(permit) => permit,
            Err(status) => {
                let mut answer = status.into_http();
                date::put_early_date(answer.headers_mut(), date::now());
                return Box::pin(async move { Ok(answer) });
            }
        };
        let deadline =
            (!WITHOUT_DEADLINE.contains(&request.uri().path())).then_some(self.rules.call_time_max);
        if let Some(permit) = &permit {
            request.extensions_mut().insert(permit.clone());
        }
        let idle_time_max = self.rules.idle_time_max;
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut answer = match deadline {
                None => answer.await,
                Some(deadline) => timeout(deadline, answer)
                    .await
                    .unwrap_or_else(|_| Ok(Status::from(Reason::Stalled).into_http())),
            }?;
            date::put_early_date(answer.headers_mut(), date::now());
            let memory = answer.extensions_mut().remove::<Arc<Reservation>>();
            Ok(answer.map(|body| {
                if http_body::Body::is_end_stream(&body) {
                    return body;
                }
                let (rest, given) = (Bytes::new(), None);
                let held = Held { body, rest, given, _permit: permit, _memory: memory };
                Body::new(Untaken::new(held, idle_time_max))
            }))
        })
    }
}

/// Bytes of an answer that are given on at once.
const PIECE_LEN: usize = 32 << 10;

/// The body of an answer, which counts as a call, and in memory, until the client has taken it in,
/// or has taken nothing for too long.
///
/// It is given on in pieces: hyper waits for the client's window before it takes the next one, but
/// buffers a piece whole, however long it is, and is done with the body then.
struct Untaken {
    /// `None` once it was given up.
    held: Arc<Mutex<Option<Held>>>,
    watch: AbortHandle,
}

struct Held {
    body: Body,
    /// Of the last frame of data.
    rest: Bytes,
    /// When the last piece was given on, unless the next one was asked for since.
    given: Option<Instant>,
    _permit: Option<CallPermit>,
    _memory: Option<Arc<Reservation>>,
}

impl Untaken {
    fn new(held: Held, idle_time_max: Duration) -> Self {
        let held = Arc::new(Mutex::new(Some(held)));
        // While hyper waits for the client, nothing else would look at the time.
        let watched = Arc::clone(&held);
        let watch = tokio::spawn(async move {
            loop {
                sleep(idle_time_max).await;
                let mut held = lock(&watched);
                let given = held.as_ref().and_then(|held| held.given);
                if given.is_some_and(|given| given.elapsed() >= idle_time_max) {
                    *held = None;
                    return;
                }
            }
        });
        Self { held, watch: watch.abort_handle() }
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.watch.abort();
        // The task may be late to end.
        *lock(&self.held) = None;
    }
}

fn lock(held: &Mutex<Option<Held>>) -> MutexGuard<'_, Option<Held>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Held {
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.given = None;
        if self.rest.is_empty() {
            match ready!(http_body::Body::poll_frame(Pin::new(&mut self.body), context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
        let len = self.rest.len().min(PIECE_LEN);
        self.given = Some(Instant::now());
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(len)))))
    }
}

impl http_body::Body for Untaken {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut *lock(&self.held) {
            Some(held) => held.poll_piece(context),
            None => Poll::Ready(Some(Err(Reason::Stalled.into()))),
        }
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.held)
            .as_ref()
            .is_some_and(|held| held.rest.is_empty() && http_body::Body::is_end_stream(&held.body))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
