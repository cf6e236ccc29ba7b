//! Accepting connections, as many as are allowed.

use std::{io, net::SocketAddr, time::Duration};

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    connection::Connection,
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
}

impl Gate {
    pub(super) fn new(
        listener: TcpListener,
        connections_max: usize,
        idle_max: Duration,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { listener, places: Places::new(connections_max), idle_max, stopping }
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
        let (stream, address) = self.stream().await;
        let place = self.place().await;
        (Connection::new(stream, place, self.idle_max, self.stopping.clone()), address)
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
