//! A connection that can be cut from outside, and is cut if nothing is asked on it.

use std::{
    fmt,
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep_until},
};
use tonic::{Status, transport::server::Connected};

use super::{
    addresses::Place,
    phase::{Phase, Phases},
};
use crate::{Reason, limits::ServerLimits, stream::Stream};

/// How many connections there were.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

type Cut = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A client's connection.
pub(crate) struct Connection {
    stream: Stream,
    caller: Caller,
    /// Ready when the connection is to be cut.
    cut: Cut,
    _permits: Permits,
}

/// Place of a connection in the limits until it is dropped.
#[derive(Debug)]
pub(crate) struct Permits {
    /// One of all connections.
    #[expect(dead_code, reason = "held, never read")]
    pub(crate) connection: OwnedSemaphorePermit,
    /// One of those of its address, or of those that are only told that there are too many.
    pub(crate) address: Result<Place, OwnedSemaphorePermit>,
}

/// Caller: this goes along with every call of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    address: IpAddr,
    /// How many connections its address may have, if it has more.
    too_many: Option<usize>,
    /// The number of the connection.
    connection: u64,
    /// Whether anything was asked on it.
    asked: Arc<AtomicBool>,
}

/// How long a connection lasts, from its beginning, of an address that has too many.
pub(super) const REFUSED_TIME_MAX: Duration = Duration::from_secs(2);

impl Caller {
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of the connection, which no other one of this process has.
    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// Refuses the calls of an address that has too many connections.
    pub(crate) fn check(&self) -> Result<(), Status> {
        let Some(max) = self.too_many else { return Ok(()) };
        Err(Reason::Busy.status(format!(
            "there are {max} connections from this address already, which is the most that the \
             server allows; try again later"
        )))
    }

    /// Notes that something is asked, and that the connection is one to keep.
    pub(crate) fn note_call(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }
}

impl Connection {
    pub(crate) fn new(
        stream: Stream,
        address: IpAddr,
        permits: Permits,
        phases: Phases,
        limits: &ServerLimits,
        began: Instant,
    ) -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let refused = permits.address.is_err();
        let too_many = refused.then_some(limits.connections_per_address_max);
        let connection = CONNECTIONS.fetch_add(1, Ordering::Relaxed);
        let caller = Caller { address, too_many, connection, asked: Arc::clone(&asked) };
        let first_call = began + limits.first_call_time_max;
        let cut = Box::pin(async move {
            let closed = phases.reached(Phase::Closed);
            tokio::pin!(closed);
            tokio::select! {
                () = &mut closed => {}
                () = sleep_until(began + REFUSED_TIME_MAX), if refused => {}
                () = sleep_until(first_call) => {
                    if asked.load(Ordering::Relaxed) {
                        closed.await;
                    }
                }
            }
        });
        Self { stream, caller, cut, _permits: permits }
    }

    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Pending => Ok(()),
            Poll::Ready(()) => {
                self.cut = Box::pin(std::future::ready(()));
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("caller", &self.caller).finish_non_exhaustive()
    }
}
