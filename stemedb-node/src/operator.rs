//! Requests to a node: of peers and operators over gRPC, and of the console.

use std::{error::Error, os::unix::net::UnixListener};

use stemedb_merkle::Hash;
use stemedb_rpc::{Control, Controlled, Failure, Reason, Reloaded, node::Gossiped};
use tokio::task::spawn_blocking;
use tracing::info;

use super::{Node, Reload, http::cells};
use stemedb_store::store::uptime;
use stemedb_store::{error::ReadError, store::lock};

impl stemedb_rpc::Node for Node {
    fn gossip(&self, frames: Vec<Vec<u8>>) -> Result<Gossiped, Failure> {
        let answers = self.shared.take_frames(frames);
        for answer in &answers.frames {
            self.shared.metrics.gossip_sent(answer.len() as u64);
        }
        Ok(answers)
    }

    fn status(&self) -> super::status::Status {
        Self::status(self)
    }

    fn cells(&self, bits: u8) -> Result<Vec<Hash>, Failure> {
        let snapshot = self.store().snapshot()?;
        cells(snapshot.tree(), bits).map_err(|error| ReadError::from(error).into())
    }

    async fn control(&self, what: Control) -> Result<Controlled, Failure> {
        let shared = &self.shared;
        let done = match what {
            Control::Pause => {
                lock(&shared.pauses).set_asked(true);
                Controlled::Paused
            }
            Control::Resume => {
                lock(&shared.pauses).set_asked(false);
                Controlled::Resumed { still_paused: lock(&shared.pauses).reason() }
            }
            Control::SyncNow(peer) => {
                let known = lock(&shared.cluster).trigger(peer.as_deref(), uptime());
                match (known, peer) {
                    (true, peer) => {
                        let still_paused = lock(&shared.pauses).reason();
                        Controlled::Meeting { peer, still_paused }
                    }
                    (false, None) => Controlled::NobodyToMeet,
                    (false, Some(_)) => {
                        let error = "this node has no such peer; its status lists them";
                        return Err(Failure::new(Reason::NotFound, error));
                    }
                }
            }
            Control::Forget(peer) => {
                if !lock(&shared.cluster).forget(&peer) {
                    let error = "this node has no such member that is gone; its status lists \
                                 them: a member that is there is stopped first, and one that the \
                                 configuration names is taken out of it";
                    return Err(Failure::new(Reason::NotFound, error));
                }
                lock(&shared.sessions).last.remove(&peer);
                Controlled::Forgotten { peer }
            }
            Control::Reload => {
                let node = self.clone();
                // It reads files.
                let reloaded = spawn_blocking(move || {
                    let reload = lock(&node.shared.reload);
                    let Some(reload) = reload.as_ref() else {
                        return Err("this node has no configuration".into());
                    };
                    (reload.0)(&node)
                });
                let reloaded = reloaded.await.map_err(Into::into).flatten();
                let reloaded = reloaded.map_err(|error| Failure::new(Reason::Configuration, error));
                Controlled::Reloaded(reloaded?)
            }
        };
        info!(result = %done, "an operator has controlled the node");
        shared.wake.notify_one();
        Ok(done)
    }

    fn is_ready(&self) -> bool {
        self.shared.is_ready()
    }
}

impl Node {
    /// Has the configuration read again whenever an operator asks for it: `reload` reads it, and
    /// has it taken on by [`reload`](Self::reload) of the node that it is given.
    pub fn on_reload(
        &self,
        reload: impl Fn(&Self) -> Result<Reloaded, Box<dyn Error + Send + Sync>> + Send + 'static,
    ) {
        *lock(&self.shared.reload) = Some(Reload(Box::new(reload)));
    }

    /// Takes calls of the node service on a Unix socket as well, once it [runs](Self::run), without
    /// a token: from processes of this process's user and of root only. It
    /// replaces a socket that was given before.
    pub fn control_by(&self, listener: UnixListener) {
        *lock(&self.shared.control) = Some(listener);
    }
}
