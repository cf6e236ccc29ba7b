//! Stands in for the runtime until that is there: serves the store, and nothing else.

use std::{
    error::Error,
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use stemedb_rpc::{Server, server::ServeError};
use stemedb_sync::Limits;

use super::Options;
use crate::Store;

/// A node.
#[derive(Clone, Debug)]
pub struct Node {
    store: Arc<Store>,
    server: Arc<Mutex<Option<Server>>>,
    address: SocketAddr,
    http: Option<SocketAddr>,
}

/// Why there is no node.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NodeError(#[from] ServeError);

/// How a node ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Calls and sessions that had not ended and were cut.
    pub cut: usize,
}

impl Node {
    /// Starts.
    ///
    /// # Errors
    ///
    /// If it can't serve.
    pub async fn start(store: Arc<Store>, options: Options) -> Result<Self, NodeError> {
        let server = Server::bind(options.listen, options.server).await?;
        let address = server.address();
        let server = Arc::new(Mutex::new(Some(server)));
        Ok(Self { store, server, address, http: options.http })
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its console is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http
    }

    /// Takes on what can change.
    pub fn reload(&self, options: Options) {
        drop(options);
    }

    /// Has the configuration read again whenever an operator asks for it.
    pub fn on_reload(
        &self,
        reload: impl Fn() -> Result<String, Box<dyn Error + Send + Sync>> + Send + 'static,
    ) {
        drop(reload);
    }

    /// Runs.
    ///
    /// # Errors
    ///
    /// If serving fails.
    pub async fn run(&self, stop: impl Future<Output = ()>) -> Result<Ended, NodeError> {
        let server = self.server.lock().ok().and_then(|mut server| server.take());
        let Some(server) = server else { return Ok(Ended { cut: 0 }) };
        let stopped = self.store.serve(server, Limits::default(), stop).await?;
        Ok(Ended { cut: stopped.cut })
    }
}
