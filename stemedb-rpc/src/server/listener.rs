//! Accepting connections, as many as are allowed.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::sleep,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tracing::warn;

use super::{
    addresses::Addresses,
    connection::{Connection, Permits},
    phase::Phases,
};
use crate::limits::ServerLimits;

/// How long no connection is accepted after accepting one failed, for instance as there are too
/// many open files.
const REST: Duration = Duration::from_millis(100);

/// Connections beyond those of their addresses that are told so at the same time. Others are
/// closed at once.
const REFUSED_MAX: usize = 16;

/// How often it is logged that connections are refused.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Connections as they come in.
///
/// A connection is accepted only once there is room for it; until then it waits where the system
/// keeps such. One whose address has too many is told so, by the answer to its first call, and
/// closed.
pub(crate) fn connections(
    listener: TcpListener,
    limits: &ServerLimits,
    phases: Phases,
) -> (impl Stream<Item = io::Result<Connection>>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(1);
    let limits = limits.clone();
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let refused = Arc::new(Semaphore::new(REFUSED_MAX));
    let addresses = Addresses::default();
    let refusals = watch::Sender::<Option<Refusals>>::default();
    // Dropped with the set.
    let mut tasks = JoinSet::new();
    tasks.spawn(log(refusals.subscribe(), limits.connections_per_address_max));
    tasks.spawn(async move {
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let Ok((stream, address)) = accept(&listener).await else {
                sleep(REST).await;
                continue;
            };
            let max = limits.connections_per_address_max;
            let place = if let Some(place) = addresses.place(address.ip(), max) {
                Ok(place)
            } else {
                refusals.send_modify(|refusals| Refusals::note(refusals, address.ip()));
                let Ok(told) = Arc::clone(&refused).try_acquire_owned() else { continue };
                Err(told)
            };
            let permits = Permits { connection: permit, address: place };
            let connection =
                Connection::new(stream, address.ip(), permits, phases.clone(), &limits);
            if sender.send(Ok(connection)).await.is_err() {
                break;
            }
        }
    });
    (ReceiverStream::new(receiver), tasks)
}

async fn accept(listener: &TcpListener) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, address))
}

/// Connections that were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refusals {
    count: u64,
    /// Address of the last one.
    address: IpAddr,
}

impl Refusals {
    fn note(refusals: &mut Option<Self>, address: IpAddr) {
        let before = refusals.map_or(0, |refusals| refusals.count);
        *refusals = Some(Self { count: before + 1, address });
    }
}

/// Logs that connections are refused: the first at once, then as many as there were now and then.
async fn log(mut refusals: watch::Receiver<Option<Refusals>>, max: usize) {
    let mut logged = 0;
    // An error says that the server is gone.
    while refusals.changed().await.is_ok() {
        if let Some(Refusals { count, address }) = *refusals.borrow_and_update() {
            warn!(
                %address,
                connections_per_address_max = max,
                refused = count - logged,
                "connections are refused: this address has as many as one may have; raise \
                 connections_per_address_max if its clients need more, or if they share a proxy"
            );
            logged = count;
        }
        sleep(LOG_INTERVAL).await;
    }
}
