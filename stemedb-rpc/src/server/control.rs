//! The node service on a Unix socket: control of a node by the owner of its files.

use std::{
    future::Future,
    io,
    os::unix::net::UnixListener as StdUnixListener,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::{CLOSE_TIME_MAX, ServeError, node::NodeService, rejection::Rejections};
use crate::{
    limits::MESSAGE_LEN_MAX, node::Node, proto::v1::node_service_server::NodeServiceServer,
};

/// Connections at the same time; more wait.
const CONNECTIONS_MAX: usize = 16;
/// Calls at the same time on one connection.
const CALLS_MAX: usize = 8;
/// How long no connection is accepted after accepting one failed.
const REST: Duration = Duration::from_millis(100);
/// Time without a sign of life after which the other side is asked for one, and for that sign.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Serves the node service on a Unix socket until `stop` is ready. No token is needed: only
/// processes of this process's user, or of root, are answered; others are disconnected.
///
/// # Errors
///
/// If the socket can't be served.
pub async fn serve_control<N: Node>(
    listener: StdUnixListener,
    node: Arc<N>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let listener = listen(listener).map_err(ServeError::Control)?;
    let owner = own_user().map_err(ServeError::Control)?;
    let (sender, receiver) = mpsc::channel(1);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with the set.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let Ok((stream, _)) = listener.accept().await else {
                sleep(REST).await;
                continue;
            };
            let user = stream.peer_cred().map(|peer| peer.uid());
            if !user.is_ok_and(|user| user == owner || user == 0) {
                continue;
            }
            let connection = Connection { stream, _permit: permit };
            if sender.send(Ok::<_, io::Error>(connection)).await.is_err() {
                break;
            }
        }
    });
    let service = NodeServiceServer::new(NodeService { node, rejections: Rejections::default() })
        .max_decoding_message_size(MESSAGE_LEN_MAX)
        .max_encoding_message_size(MESSAGE_LEN_MAX);
    let (ending, ended) = oneshot::channel::<()>();
    let serving = tonic::transport::Server::builder()
        .accept_http1(false)
        .concurrency_limit_per_connection(CALLS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(service)
        .serve_with_incoming_shutdown(ReceiverStream::new(receiver), async {
            // A sender that is gone means the same.
            let _ended = ended.await;
        });
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return served.map_err(ServeError::Transport),
        () = stop => {}
    }
    drop(ending);
    // A client that keeps its call open does not keep the node from ending.
    timeout(CLOSE_TIME_MAX, serving).await.unwrap_or(Ok(())).map_err(ServeError::Transport)
}

fn listen(listener: StdUnixListener) -> io::Result<UnixListener> {
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// The user of this process: whom the other end of a socket of its own belongs to.
fn own_user() -> io::Result<u32> {
    let (here, _there) = UnixStream::pair()?;
    Ok(here.peer_cred()?.uid())
}

/// A connection that counts until it is dropped.
struct Connection {
    stream: UnixStream,
    _permit: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
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

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
