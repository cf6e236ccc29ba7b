//! Making connections, and knowing why one was not made.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tonic::codegen::http::Uri;
use tower_service::Service;

use super::{
    ClientOptions, PeerAddress,
    connect_failure::{ConnectFailure, FIRST_LEN},
};
use crate::{stream::Stream, tls::TlsError};

/// How long one address of a host is tried before the next is tried beside it (RFC 8305).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// The last failure of a connection. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Diagnosis(Arc<Mutex<Option<ConnectFailure>>>);

impl Diagnosis {
    pub(super) fn get(&self) -> Option<ConnectFailure> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, failure: Option<ConnectFailure>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }
}

/// A server, and why there was no connection to it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) peer: PeerAddress,
    pub(super) diagnosis: Diagnosis,
}

/// Makes connections to one server.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    host: String,
    port: u16,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    time_max: Duration,
    diagnosis: Diagnosis,
}

impl Connector {
    pub(super) fn new(
        peer: &PeerAddress,
        options: &ClientOptions,
        tls: Option<Arc<ClientConfig>>,
        diagnosis: Diagnosis,
    ) -> Result<Self, TlsError> {
        let host = peer.host().to_owned();
        let tls = match tls {
            None => None,
            Some(config) => {
                let name = options.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
                let name = name.unwrap_or(&host).to_owned();
                let name = ServerName::try_from(name).map_err(|_| TlsError::ServerName)?;
                Some((config, name))
            }
        };
        let time_max = options.connect_time_max;
        Ok(Self { host, port: peer.port(), tls, time_max, diagnosis })
    }

    async fn connect(self) -> Result<Transport, ConnectFailure> {
        let no_answer = |_| ConnectFailure::NoAnswer(self.time_max);
        let connecting = connect_to(&self.host, self.port);
        let stream = timeout(self.time_max, connecting).await.map_err(no_answer)??;
        let tcp = |error| ConnectFailure::of_io(&error);
        stream.set_nodelay(true).map_err(tcp)?;
        let (stream, first) = match self.tls {
            None => (Stream::Plain(stream), Some(Vec::with_capacity(FIRST_LEN))),
            Some((tls, name)) => {
                let shaking = timeout(self.time_max, TlsConnector::from(tls).connect(name, stream));
                let stream = shaking.await.map_err(no_answer)?;
                let stream = stream.map_err(|error| ConnectFailure::of_handshake(&error))?;
                (Stream::Tls(Box::new(stream.into())), None)
            }
        };
        Ok(Transport { stream, first, diagnosis: self.diagnosis })
    }
}

/// Connects to the first address of a host that answers.
async fn connect_to(host: &str, port: u16) -> Result<TcpStream, ConnectFailure> {
    let unknown = |error: io::Error| ConnectFailure::UnknownHost(error.to_string());
    let addresses: Vec<SocketAddr> = lookup_host((host, port)).await.map_err(unknown)?.collect();
    let mut connecting = JoinSet::new();
    let mut failure = ConnectFailure::UnknownHost("it has no address".to_owned());
    for address in addresses {
        connecting.spawn(TcpStream::connect(address));
        tokio::select! {
            Some(ended) = connecting.join_next() => match ended {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failure = ConnectFailure::of_io(&error),
                Err(_) => {}
            },
            () = sleep(NEXT_ADDRESS_AFTER) => {}
        }
    }
    while let Some(ended) = connecting.join_next().await {
        match ended {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = ConnectFailure::of_io(&error),
            Err(_) => {}
        }
    }
    Err(failure)
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Transport>;
    type Error = ConnectFailure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectFailure>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move {
            let diagnosis = connector.diagnosis.clone();
            let connected = connector.connect().await;
            diagnosis.set(connected.as_ref().err().cloned());
            connected.map(TokioIo::new)
        })
    }
}

/// A connection that notes what the server says where it is none, or refuses this side.
#[derive(Debug)]
pub(super) struct Transport {
    stream: Stream,
    /// The first bytes in plaintext, until it is known what they are.
    first: Option<Vec<u8>>,
    diagnosis: Diagnosis,
}

impl Transport {
    /// Notes why there is no connection, where an error says so.
    fn note<T>(&self, outcome: &Poll<io::Result<T>>) {
        let Poll::Ready(Err(error)) = outcome else { return };
        let is_silent = self.first.as_ref().is_some_and(Vec::is_empty);
        let closed = is_silent.then_some(ConnectFailure::Closed);
        if let Some(failure) = ConnectFailure::of_tls(error).or(closed) {
            self.diagnosis.set(Some(failure));
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.note(&read);
        let this = &mut *self;
        if let (Poll::Ready(Ok(())), Some(first)) = (&read, &mut this.first) {
            let new = buffer.filled().get(before..).unwrap_or_default();
            if new.is_empty() && first.is_empty() {
                this.diagnosis.set(Some(ConnectFailure::Closed));
                return read;
            }
            first.extend(new.iter().take(FIRST_LEN.saturating_sub(first.len())));
            let failure = ConnectFailure::of_plaintext(first);
            if failure.is_some() || first.len() >= FIRST_LEN {
                this.first = None;
            }
            if failure.is_some() {
                this.diagnosis.set(failure);
            }
        }
        read
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(&written);
        written
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
