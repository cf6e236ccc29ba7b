//! A connection, which is closed once it is of no use.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::places::{Caller, Place};

/// Bytes that a client may send before they amount to a request.
const HEAD_LEN_MAX: u64 = 64 << 10;

/// The first bytes of a connection that speaks HTTP/2 (RFC 9113, section 3.4), which no request of
/// HTTP/1 begins with. The library would take it up where another crate asks it for HTTP/2; its
/// streams pass by the limits that are set here.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// How long a connection beyond the limit may be open without a request.
const SINGLE_IDLE_MAX: Duration = Duration::from_secs(2);

/// A connection that is closed if its client asks nothing, or does not take the answer, or has to
/// give way to another.
pub(super) struct Connection {
    stream: TcpStream,
    place: Place,
    idle_max: Duration,
    /// Until when something must have happened.
    idle: Pin<Box<Sleep>>,
    /// Since when the client takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Ready when it is to be closed.
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// How many requests had begun at the last look.
    begun: u64,
    /// Bytes read since.
    read: u64,
    /// What is left of [`HTTP2_PREFACE`] while the client has sent nothing else; empty afterwards.
    preface: &'static [u8],
}

impl Connection {
    pub(super) fn new(
        stream: TcpStream,
        place: Place,
        idle_max: Duration,
        mut stopping: watch::Receiver<bool>,
    ) -> Self {
        let caller = place.caller().clone();
        let single = caller.is_single();
        let cut = async move {
            let stopped = async {
                // An error says that the server is gone.
                let _ = stopping.wait_for(|stopping| *stopping).await;
                sleep(super::CLOSE_AFTER).await;
            };
            tokio::select! {
                () = stopped => {}
                () = caller.cut() => {}
            }
        };
        let idle_max = if single { idle_max.min(SINGLE_IDLE_MAX) } else { idle_max };
        Self {
            stream,
            place,
            idle_max,
            idle: Box::pin(sleep(idle_max)),
            stalled: None,
            cut: Box::pin(cut),
            begun: 0,
            read: 0,
            preface: HTTP2_PREFACE,
        }
    }

    pub(super) fn caller(&self) -> &Caller {
        self.place.caller()
    }

    /// Whether it is to be closed.
    fn check_cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.cut.as_mut().poll(context).is_ready() {
            self.cut = Box::pin(std::future::ready(()));
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    /// Whether the client has kept the connection for nothing.
    fn check_idle(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        while self.idle.as_mut().poll(context).is_ready() {
            let (activity, now) = (self.caller().activity(), Instant::now());
            let end = activity.since + self.idle_max;
            if activity.running > 0 {
                self.idle = Box::pin(sleep(self.idle_max));
            } else if end > now {
                self.idle = Box::pin(sleep_until(end));
            } else {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Refuses HTTP/2.
    fn check_preface(&mut self, bytes: &[u8]) -> io::Result<()> {
        for byte in bytes {
            match self.preface {
                [expected] if byte == expected => return Err(io::ErrorKind::InvalidData.into()),
                [expected, left @ ..] if byte == expected => self.preface = left,
                _ => {
                    self.preface = &[];
                    break;
                }
            }
        }
        Ok(())
    }

    fn note_read(&mut self, len: u64) -> io::Result<()> {
        let begun = self.caller().activity().begun;
        if begun != self.begun {
            (self.begun, self.read) = (begun, 0);
        }
        self.read += len;
        if self.read > HEAD_LEN_MAX { Err(io::ErrorKind::InvalidData.into()) } else { Ok(()) }
    }

    /// Closes the connection if the client has taken nothing for long.
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
        self.check_cut(context)?;
        if self.stalled.is_none() {
            self.note_stalled(true);
        }
        let idle_max = self.idle_max;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(idle_max)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn note_stalled(&self, stalled: bool) {
        self.caller().update(|activity| {
            activity.stalled = stalled;
            activity.since = Instant::now();
        });
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_cut(context)?;
        self.check_idle(context)?;
        let before = buffer.filled().len();
        ready!(pin!(&mut self.stream).poll_read(context, buffer))?;
        let (_, read) = buffer.filled().split_at(before);
        self.check_preface(read)?;
        Poll::Ready(self.note_read(read.len() as u64))
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
