//! A connection: served by one task, and closed once it is of no use.

use std::{
    convert::Infallible,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{Router, extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::{
    early,
    places::{Caller, Place},
};

/// Bytes that a client may send before they amount to a request.
const HEAD_LEN_MAX: usize = 64 << 10;

/// How long a connection beyond the limit may be open without a request.
const SINGLE_IDLE_MAX: Duration = Duration::from_secs(2);

/// How long answers may take after the server was told to stop.
const CLOSE_AFTER: Duration = Duration::from_secs(2);

/// Serves a connection. Ends when its client asks nothing for so long, or does not take the answer,
/// when it has to give way to another, and soon after the server stops.
pub(super) async fn serve(
    stream: TcpStream,
    place: Place,
    idle_max: Duration,
    stopping: CancellationToken,
    router: Router,
) {
    let caller = place.caller();
    let idle_max = if caller.is_single() { idle_max.min(SINGLE_IDLE_MAX) } else { idle_max };
    let stream = Stream { socket: stream, caller: caller.clone(), idle_max, stalled: None };
    let late = async {
        stopping.cancelled().await;
        sleep(CLOSE_AFTER).await;
    };
    tokio::select! {
        () = exchange(stream, caller, &stopping, router) => {}
        () = caller.cut() => {}
        () = late => {}
    }
}

/// Answers requests until the client has gone, or the server stops.
async fn exchange(stream: Stream, caller: &Caller, stopping: &CancellationToken, router: Router) {
    let idle_max = stream.idle_max;
    if early::is_early() {
        // It has gone or was too slow.
        let _ = timeout(idle_max, early::answer(stream, caller.clone(), router)).await;
        return;
    }
    let service = service_fn(move |request| answer(request, caller.clone(), router.clone()));
    // HTTP/1 alone: the streams of HTTP/2 would pass by these limits.
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(idle_max)
        .max_buf_size(HEAD_LEN_MAX)
        .keep_alive(!caller.is_single())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    tokio::select! {
        // The client has gone, was too slow, or sent what is no request.
        _ = connection.as_mut() => {}
        () = stopping.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

async fn answer(
    mut request: Request<Incoming>,
    caller: Caller,
    mut router: Router,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(caller);
    router.call(request).await
}

/// A stream that fails once its client has taken nothing of an answer for too long.
struct Stream {
    socket: TcpStream,
    caller: Caller,
    idle_max: Duration,
    /// Since when the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    fn check_written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stalled.take().is_some() {
                self.note_stalled(false);
            }
            return written;
        }
        if self.stalled.is_none() {
            self.note_stalled(true);
        }
        let idle_max = self.idle_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(idle_max)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn note_stalled(&self, stalled: bool) {
        self.caller.update(|activity| {
            activity.stalled = stalled;
            activity.since = Instant::now();
        });
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        pin!(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.socket).poll_write(context, bytes);
        self.check_written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = pin!(&mut self.socket).poll_write_vectored(context, slices);
        self.check_written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.socket).poll_shutdown(context)
    }
}
