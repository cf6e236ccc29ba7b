//! Accepting connections, as many as are allowed.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_stream::{Stream, wrappers::ReceiverStream};

use super::{
    addresses::Addresses,
    connection::{Connection, Permits, REFUSED_TIME_MAX},
    credentials::Credentials,
    greeting::{LINGERING_MAX, Times, greet},
    phase::Phases,
    rejection::{Rejection, Rejections},
};
use crate::limits::ServerLimits;

/// How long no connection is accepted after accepting one failed, for instance as there are too
/// many open files.
const REST: Duration = Duration::from_millis(100);

/// Connections beyond those of their addresses that are told so at the same time. Others are
/// closed at once.
const REFUSED_MAX: usize = 16;

/// Connections as they come in.
///
/// A connection is accepted only once there is room for it; until then it waits where the system
/// keeps such. Each has its TLS handshake beside the others. One whose address has too many is told
/// so, by the answer to its first call, and closed.
pub(crate) fn connections(
    listener: TcpListener,
    limits: &ServerLimits,
    phases: Phases,
    credentials: Credentials,
    rejections: Rejections,
) -> (impl Stream<Item = io::Result<Connection>>, JoinSet<()>) {
    let (sender, receiver) = mpsc::channel(1);
    let limits = Arc::new(limits.clone());
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let refused = Arc::new(Semaphore::new(REFUSED_MAX));
    let lingering = Arc::new(Semaphore::new(LINGERING_MAX));
    let addresses = Addresses::default();
    // Dropped with the set.
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut greetings = JoinSet::new();
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            while greetings.try_join_next().is_some() {}
            let Ok((stream, address)) = accept(&listener).await else {
                sleep(REST).await;
                continue;
            };
            let address = address.ip();
            let max = limits.connections_per_address_max;
            let place = if let Some(place) = addresses.place(address, max) {
                Ok(place)
            } else {
                let detail = format!(
                    "its address has {max} connections, which is as many as one may have; raise \
                     connections_per_address_max if its clients need more, or share a proxy"
                );
                rejections.note(Some(address), Rejection::Connections, detail);
                let Ok(told) = Arc::clone(&refused).try_acquire_owned() else { continue };
                Err(told)
            };
            let permits = Permits { connection: permit, address: place };
            let is_refused = permits.address.is_err();
            let times = Times {
                first_byte: limits.first_call_time_max,
                handshake: limits.handshake_time_max,
            };
            let (sender, rejections) = (sender.clone(), rejections.clone());
            let lingering = Arc::clone(&lingering);
            let (phases, limits) = (phases.clone(), Arc::clone(&limits));
            let (tls, began) = (credentials.tls(), Instant::now());
            greetings.spawn(async move {
                let greeting = greet(stream, address, tls, times, &rejections, &lingering);
                let greeted = if is_refused {
                    timeout_at(began + REFUSED_TIME_MAX, greeting).await.unwrap_or(None)
                } else {
                    greeting.await
                };
                if let Some(stream) = greeted {
                    let connection =
                        Connection::new(stream, address, permits, phases, &limits, began);
                    // The server is gone otherwise.
                    let _sent = sender.send(Ok(connection)).await;
                }
            });
        }
    });
    (ReceiverStream::new(receiver), tasks)
}

async fn accept(listener: &TcpListener) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, address))
}
