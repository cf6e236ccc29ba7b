//! Connections: as many as are allowed, and none for longer than it is of use.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Sleep, sleep},
};

/// How long no connection is accepted after accepting one failed, for instance as there are too
/// many open files.
const REST: Duration = Duration::from_millis(100);

/// Bytes that a client may send before they amount to a request.
const HEAD_LEN_MAX: u64 = 64 << 10;

/// Accepts connections.
#[derive(Debug)]
pub(super) struct Gate {
    listener: TcpListener,
    room: Arc<Semaphore>,
    idle_max: Duration,
    stopping: watch::Receiver<bool>,
}

impl Gate {
    pub(super) fn new(
        listener: TcpListener,
        connections_max: usize,
        idle_max: Duration,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(connections_max)), idle_max, stopping }
    }
}

impl Listener for Gate {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // What there is no room for waits where the system keeps such.
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                return std::future::pending().await;
            };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let stopping = self.stopping.clone();
                    return (Connection::new(stream, permit, self.idle_max, stopping), address);
                }
                Err(_) => sleep(REST).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// What the requests of a connection tell it.
#[derive(Clone, Debug, Default)]
pub(super) struct Caller(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Running(Caller);

impl Caller {
    /// A request begins.
    pub(super) fn begin(&self) -> Running {
        self.0.begun.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    fn is_busy(&self) -> bool {
        self.begun() > self.0.ended.load(Ordering::Relaxed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

impl Connected<IncomingStream<'_, Gate>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().caller.clone()
    }
}

/// A connection that is cut if its client asks nothing, or does not take the answer.
pub(super) struct Connection {
    stream: TcpStream,
    caller: Caller,
    idle_max: Duration,
    /// Until when something must have happened.
    idle: Pin<Box<Sleep>>,
    /// Since when the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    closed: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How many requests had begun at the last look.
    begun: u64,
    /// Bytes read since.
    read: u64,
    _permit: OwnedSemaphorePermit,
}

impl Connection {
    fn new(
        stream: TcpStream,
        permit: OwnedSemaphorePermit,
        idle_max: Duration,
        mut stopping: watch::Receiver<bool>,
    ) -> Self {
        let closed = async move {
            // Whoever could say so may have gone.
            let _ = stopping.wait_for(|stopping| *stopping).await;
            sleep(super::CLOSE_AFTER).await;
        };
        Self {
            stream,
            caller: Caller::default(),
            idle_max,
            idle: Box::pin(sleep(idle_max)),
            stalled: None,
            closed: Box::pin(closed),
            begun: 0,
            read: 0,
            _permit: permit,
        }
    }

    /// Whether the client has kept the connection for nothing.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.closed.as_mut().poll(context).is_ready() {
            self.closed = Box::pin(std::future::ready(()));
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        while self.idle.as_mut().poll(context).is_ready() {
            let begun = self.caller.begun();
            if begun == self.begun && !self.caller.is_busy() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            (self.begun, self.read) = (begun, 0);
            self.idle = Box::pin(sleep(self.idle_max));
        }
        Ok(())
    }

    fn note_read(&mut self, len: u64) -> io::Result<()> {
        let begun = self.caller.begun();
        if begun != self.begun {
            (self.begun, self.read) = (begun, 0);
            self.idle = Box::pin(sleep(self.idle_max));
        }
        self.read += len;
        if self.read > HEAD_LEN_MAX { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
    }

    /// Cuts the connection if the client has taken nothing for long.
    fn check_written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let idle_max = self.idle_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(idle_max)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        let before = buffer.filled().len();
        ready!(pin!(&mut self.stream).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        Poll::Ready(self.note_read(read as u64))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.stream).poll_write(context, bytes);
        self.check_written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.stream).poll_write_vectored(context, slices);
        self.check_written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.stream).poll_shutdown(context)
    }
}
