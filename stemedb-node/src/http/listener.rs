//! Accepting connections, as many as are allowed.

use std::time::Duration;

use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use super::places::{Place, Places};

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
}

impl Gate {
    pub(super) fn new(listener: TcpListener, connections_max: usize) -> Self {
        Self { listener, places: Places::new(connections_max) }
    }

    /// The next connection, once there is a place for it.
    pub(super) async fn accept(&self) -> (TcpStream, Place) {
        let stream = loop {
            if let Ok((stream, _)) = self.listener.accept().await {
                break stream;
            }
            // It may be short of descriptors.
            self.places.give_way(Instant::now());
            sleep(REST).await;
        };
        loop {
            if let Some(place) = self.places.take(Instant::now()) {
                return (stream, place);
            }
            sleep(PLACE_INTERVAL).await;
        }
    }
}
