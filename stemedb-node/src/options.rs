//! Options of a node.

use std::{net::SocketAddr, time::Duration};

use stemedb_rpc::{ClientOptions, ClientTls, PeerAddress, ServerOptions};

use super::NodeError;

stemedb_merkle::options! {
    /// Options of a node. The defaults suit a node that is alone on its machine.
    #[derive(Clone, Debug)]
    pub struct Options {
        /// Where it serves. Default 127.0.0.1:7845.
        pub listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7845)),
        /// The address by which others reach it. Default: where it listens, which others can't
        /// reach if that is any address or the loopback.
        pub advertise: Option<PeerAddress> = None,
        /// Where console, metrics and health are served over HTTP. Default 127.0.0.1:7846; `None`
        /// serves none.
        pub http: Option<SocketAddr> = Some(SocketAddr::from(([127, 0, 0, 1], 7846))),
        /// Host names beside IP addresses and `localhost` by which the console may be asked for.
        /// Default: none.
        pub http_hosts: Vec<String> = Vec::new(),
        /// How it serves.
        pub server: ServerOptions = ServerOptions::default(),
        /// How it calls others.
        pub client: ClientOptions = ClientOptions::default(),
        /// Members of the cluster, any of which is asked for the others. Default: none.
        pub join: Vec<PeerAddress> = Vec::new(),
        /// Peers that are synced with although they don't gossip. Default: none.
        pub peers: Vec<PeerAddress> = Vec::new(),
        /// Whether to take part in gossip. Default: yes.
        pub gossip: bool = true,
        /// Whether a node that other machines reach may run with neither a secret nor client
        /// certificates, so that anybody who reaches it can become a member. Default: no.
        pub open_membership: bool = false,
        /// Limits of sync.
        pub sync: SyncPolicy = SyncPolicy::default(),
        /// How bodies are checked in the background; `None` for not at all.
        pub scrub: Option<ScrubPolicy> = Some(ScrubPolicy::default()),
        /// Policy of the archive; `None` for none.
        pub archive: Option<ArchivePolicy> = None,
        /// Free bytes of the disk below which the node is not ready, and takes no bodies from
        /// peers. Default 1 GiB, or 5 % of the disk if that is less.
        pub disk_reserve: Option<u64> = None,
        /// How long a stop may take. Default 20 seconds.
        pub stop_time_max: Duration = Duration::from_secs(20),
    }
}

impl Options {
    /// Whether a node could run so: of a store with a secret, or without one.
    ///
    /// # Errors
    ///
    /// If certificates can't be used, or others could read along or become members unasked.
    pub fn check(&self, has_secret: bool) -> Result<(), NodeError> {
        self.check_server(has_secret)?;
        self.check_client()
    }

    pub(super) fn check_server(&self, has_secret: bool) -> Result<(), NodeError> {
        self.server.check(self.listen)?;
        if self.is_open_to_others(has_secret) && !self.open_membership {
            return Err(NodeError::OpenMembership { address: self.listen });
        }
        Ok(())
    }

    pub(super) fn check_client(&self) -> Result<(), NodeError> {
        let tls = self.client.tls.as_ref();
        tls.map_or(Ok(()), ClientTls::check).map_err(NodeError::ClientTls)
    }

    /// Whether anybody who reaches the node could become a member.
    pub(super) fn is_open_to_others(&self, has_secret: bool) -> bool {
        let asks_certificates = self.server.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        !self.listen.ip().is_loopback() && !has_secret && !asks_certificates
    }
}

stemedb_merkle::options! {
    /// Limits of sync.
    #[derive(Clone, Debug, PartialEq)]
    pub struct SyncPolicy {
        /// In each such time a few peers are met even if nothing says that they differ; up to a
        /// quarter more or less by chance. Default 30 seconds.
        pub interval: Duration = Duration::from_secs(30),
        /// Sessions that this node runs at the same time. Default 2.
        pub sessions_max: usize = 2,
        /// Bytes a second that all sessions of this node may move, both ways. Default: no limit.
        pub bytes_per_second: Option<u64> = None,
        /// The share of one core that sessions may take, 0 to 1. Default 1: no limit.
        pub cpu_share: f64 = 1.0,
        /// Sync pauses while the 99th percentile of append latency is above this. Default:
        /// never.
        pub pause_above: Option<Duration> = None,
        /// When sync may run, UTC; empty for always. Default: always.
        pub windows: Vec<Window> = Vec::new(),
    }
}

/// A part of each day, in seconds from midnight UTC. It goes over midnight if `from` is after `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Window {
    /// It begins here.
    pub from: u32,
    /// It ends before this.
    pub to: u32,
}

stemedb_merkle::options! {
    /// How bodies are checked in the background.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ScrubPolicy {
        /// Bytes a second that are read. Default 4 MiB.
        pub bytes_per_second: u64 = 4 << 20,
        /// The least time from the beginning of one pass to that of the next. Default 7 days.
        pub interval: Duration = Duration::from_secs(7 * 24 * 60 * 60),
    }
}

stemedb_merkle::options! {
    /// Policy of the archive.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ArchivePolicy {
        new {
            /// Where: `s3://BUCKET/PREFIX` or `file:///DIRECTORY`.
            pub url: String,
        }
        /// How often sealed segments and checkpoints are sent there. Default 1 minute.
        pub interval: Duration = Duration::from_secs(60),
        /// Sealed segments that are archived are dropped from this machine but for the newest so
        /// many. Default: none is dropped.
        pub keep_segments: Option<u64> = None,
    }
}
