//! Accepting connections, as many as are allowed.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::sleep,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};

use super::{addresses::Addresses, connection::Connection, phase::Phases};
use crate::limits::ServerLimits;

/// How long no connection is accepted after accepting one failed, for instance as there are too
/// many open files.
const REST: Duration = Duration::from_millis(100);

/// Connections as they come in.
///
/// A connection is accepted only once there is room for it; until then it waits where the system
/// keeps such.
pub(crate) fn connections(
    listener: TcpListener,
    limits: &ServerLimits,
    phases: Phases,
) -> (impl Stream<Item = io::Result<Connection>>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(1);
    let limits = limits.clone();
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let addresses = Addresses::default();
    // Dropped with the set.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let Ok((stream, address)) = accept(&listener).await else {
                sleep(REST).await;
                continue;
            };
            let max = limits.connections_per_address_max;
            let Some(place) = addresses.place(address.ip(), max) else { continue };
            let connection =
                Connection::new(stream, place, permit, phases.clone(), limits.first_call_time_max);
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
