//! A connection that can be cut from outside, and is cut if nothing is asked on it.

use std::{
    fmt,
    future::Future,
    io,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
    time::sleep,
};
use tonic::transport::server::Connected;

use super::{
    addresses::Place,
    phase::{Phase, Phases},
};

type Cut = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A client's connection.
pub(crate) struct Connection {
    stream: TcpStream,
    caller: Caller,
    /// Ready when the connection is to be cut.
    cut: Cut,
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

/// Who calls: this goes along with every call of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    address: IpAddr,
    /// Whether anything was asked on it.
    asked: Arc<AtomicBool>,
}

impl Caller {
    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// Notes that something is asked, and that the connection is one to keep.
    pub(crate) fn note_call(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }
}

impl Connection {
    pub(crate) fn new(
        stream: TcpStream,
        place: Place,
        permit: OwnedSemaphorePermit,
        phases: Phases,
        first_call_time_max: Duration,
    ) -> Self {
        let asked = Arc::new(AtomicBool::new(false));
        let caller = Caller { address: place.address(), asked: Arc::clone(&asked) };
        let cut = Box::pin(async move {
            let closed = phases.reached(Phase::Closed);
            tokio::pin!(closed);
            tokio::select! {
                () = &mut closed => {}
                () = sleep(first_call_time_max) => {
                    if asked.load(Ordering::Relaxed) {
                        closed.await;
                    }
                }
            }
        });
        Self { stream, caller, cut, _place: place, _permit: permit }
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
