//! Accepting connections, as many as are allowed.

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    connection::Connection,
    early,
    places::{Caller, Place, Places},
};

/// How long no connection is accepted after accepting one failed, for instance as there are too
/// many open files.
const REST: Duration = Duration::from_millis(100);

/// How often it is looked for a place where all are taken by requests that are being answered.
const PLACE_INTERVAL: Duration = Duration::from_millis(20);

/// Accepts connections.
#[derive(Debug)]
pub(super) struct Gate {
    listener: TcpListener,
    places: Places,
    idle_max: Duration,
    stopping: watch::Receiver<bool>,
    /// What answers while the clock stands before 1970.
    router: Router,
    /// The answers of such times.
    early: JoinSet<()>,
}

impl Gate {
    pub(super) fn new(
        listener: TcpListener,
        connections_max: usize,
        idle_max: Duration,
        stopping: watch::Receiver<bool>,
        router: Router,
    ) -> Self {
        let (places, early) = (Places::new(connections_max), JoinSet::new());
        Self { listener, places, idle_max, stopping, router, early }
    }

    async fn stream(&self) -> (TcpStream, SocketAddr) {
        loop {
            if let Ok(accepted) = self.listener.accept().await {
                return accepted;
            }
            // It may be short of descriptors.
            self.places.give_way(Instant::now());
            sleep(REST).await;
        }
    }

    async fn place(&self) -> Place {
        loop {
            if let Some(place) = self.places.take(Instant::now()) {
                return place;
            }
            sleep(PLACE_INTERVAL).await;
        }
    }
}

impl Listener for Gate {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, address) = self.stream().await;
            let place = self.place().await;
            let stopping = self.stopping.clone();
            let connection = Connection::new(stream, place, self.idle_max, stopping);
            if !early::is_early() {
                return (connection, address);
            }
            while self.early.try_join_next().is_some() {}
            let answer = early::answer(connection, self.router.clone());
            self.early.spawn(async move {
                // The client has gone, or was cut off.
                let _ = answer.await;
            });
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Gate>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Gate>) -> Self {
        stream.io().caller().clone()
    }
}
