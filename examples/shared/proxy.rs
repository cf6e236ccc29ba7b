//! A network between nodes of one process: connections that take their time, have so much room,
//! can be cut, and are counted.

#![allow(dead_code, reason = "each example uses a part")]

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// The longest piece that is read at once, in bytes.
const PIECE_LEN: usize = 16 << 10;
/// Pieces of one connection that may be under way one way.
const PIECES: usize = 1024;
/// What a link holds back at most because it has no room: as much as fits into this time.
const QUEUE: Duration = Duration::from_millis(50);

/// What a link is like.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shape {
    /// How long everything takes one way.
    pub(crate) delay: Duration,
    /// Bytes a second each way, of all connections together; `None` for no limit.
    pub(crate) bytes_per_second: Option<u64>,
}

/// A link between two places, shared by all connections over it.
#[derive(Debug)]
pub(crate) struct Link {
    shape: Shape,
    lanes: [Lane; 2],
    cut: watch::Sender<bool>,
}

/// One way of a link.
#[derive(Debug)]
struct Lane {
    bytes: AtomicU64,
    /// When all that was sent so far is gone.
    free: Mutex<Instant>,
}

/// The ends of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Left,
    Right,
}

impl Link {
    pub(crate) fn new(shape: Shape) -> Arc<Self> {
        let lane = || Lane { bytes: 0.into(), free: Instant::now().into() };
        Arc::new(Self { shape, lanes: [lane(), lane()], cut: watch::Sender::new(false) })
    }

    /// Nothing passes from now on, and nobody is told: as if a cable had been pulled.
    pub(crate) fn cut(&self) {
        self.cut.send_replace(true);
    }

    /// It works again. Connections that were there in the meantime break now, and what was under
    /// way in them is lost: after a long outage nobody knows of them any more.
    pub(crate) fn heal(&self) {
        self.cut.send_replace(false);
    }

    /// Bytes so far from left to right and from right to left: those of the streams, without what
    /// TCP and IP put around them.
    pub(crate) fn bytes(&self) -> [u64; 2] {
        self.lanes.each_ref().map(|lane| lane.bytes.load(Relaxed))
    }

    pub(crate) fn bytes_both_ways(&self) -> u64 {
        self.bytes().iter().sum()
    }
}

/// An address that stands for a node: whoever connects to it comes to the node over a link.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    to: watch::Sender<Option<SocketAddr>>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// `from` is the end of the link at which those are who connect. Until it is known where it
    /// [leads to](Self::lead_to), nobody gets through.
    pub(crate) async fn open(link: &Arc<Link>, from: End) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let to = watch::Sender::new(None);
        let (led, link) = (to.subscribe(), Arc::clone(link));
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Some(to) = *led.borrow() else { continue };
                let link = Arc::clone(&link);
                tokio::spawn(async move { link.carry(near, to, from).await });
            }
        });
        Ok(Self { address, to, accepting })
    }

    /// The node listens there from now on.
    pub(crate) fn lead_to(&self, node: SocketAddr) {
        self.to.send_replace(Some(node));
    }

    /// What others are to call.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Link {
    /// Carries one connection until it ends, or until a cut is healed.
    async fn carry(&self, near: TcpStream, to: SocketAddr, from: End) {
        let [rightward, leftward] = &self.lanes;
        let (there, back) = match from {
            End::Left => (rightward, leftward),
            End::Right => (leftward, rightward),
        };
        let passing = async {
            let far = TcpStream::connect(to).await?;
            near.set_nodelay(true)?;
            far.set_nodelay(true)?;
            let (near_in, near_out) = near.into_split();
            let (far_in, far_out) = far.into_split();
            tokio::join!(self.pass(there, near_in, far_out), self.pass(back, far_in, near_out));
            io::Result::Ok(())
        };
        tokio::pin!(passing);
        let mut cut = self.cut.subscribe();
        tokio::select! {
            biased;
            _ = cut.wait_for(|cut| *cut) => {}
            _ = &mut passing => return,
        }
        // What is under way is lost already, but both ends hope on.
        let _ = cut.wait_for(|cut| !*cut).await;
    }

    /// Passes one way on: one part notes when what is due, the other waits for it.
    async fn pass(&self, lane: &Lane, mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
        let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
        let taking = async move {
            let mut piece = vec![0; PIECE_LEN];
            while let Ok(len @ 1..) = from.read(&mut piece).await {
                let sent = lane.send(len as u64, self.shape.bytes_per_second);
                let bytes = piece.get(..len).unwrap_or_default().to_vec();
                if sender.send((sent + self.shape.delay, bytes)).await.is_err() {
                    break;
                }
                sleep_until(sent.checked_sub(QUEUE).unwrap_or(sent)).await;
            }
        };
        let giving = async move {
            while let Some((due, bytes)) = receiver.recv().await {
                if due > Instant::now() {
                    sleep_until(due).await;
                }
                if to.write_all(&bytes).await.is_err() {
                    break;
                }
            }
        };
        tokio::join!(taking, giving);
    }
}

impl Lane {
    /// When so many bytes are gone, if they are sent now.
    fn send(&self, len: u64, bytes_per_second: Option<u64>) -> Instant {
        self.bytes.fetch_add(len, Relaxed);
        let now = Instant::now();
        let Some(rate) = bytes_per_second else { return now };
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        *free = (*free).max(now) + Duration::from_secs_f64(len as f64 / rate as f64);
        *free
    }
}
