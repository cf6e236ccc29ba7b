//! A connection between two ends that counts what passes, and takes its time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::Failure;

/// Passes on whatever comes, each way `delay` later, at any rate.
pub(crate) struct Proxy {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
    _runtime: Runtime,
}

impl Proxy {
    pub(crate) fn new(to: SocketAddr, delay: Duration) -> Result<Self, Failure> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&bytes);
        runtime.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(to).await else { continue };
                if near.set_nodelay(true).and(far.set_nodelay(true)).is_err() {
                    continue;
                }
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                pass(near_in, far_out, delay, &counter);
                pass(far_in, near_out, delay, &counter);
            }
        });
        Ok(Self { address, bytes, _runtime: runtime })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes both ways so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// Passes one direction on, in two tasks: one notes when what came, the other waits.
fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay: Duration,
    counter: &Arc<AtomicU64>,
) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(1024);
    let counter = Arc::clone(counter);
    tokio::spawn(async move {
        let mut piece = vec![0; 64 << 10];
        while let Ok(len @ 1..) = from.read(&mut piece).await {
            counter.fetch_add(len as u64, Relaxed);
            let bytes = piece.get(..len).unwrap_or_default().to_vec();
            if sender.send((Instant::now() + delay, bytes)).await.is_err() {
                break;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((due, bytes)) = receiver.recv().await {
            if !delay.is_zero() {
                sleep_until(due).await;
            }
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
}
