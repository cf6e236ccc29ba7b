//! The calls of the node service.

use stemedb_merkle::Hash;

use super::{CallError, Client};
use crate::{
    Malformed,
    node::{Control, Controlled},
    proto::v1,
    status::Status,
};

impl Client {
    /// Hands over frames of gossip, once, and gives those that answer them. Goes over a connection
    /// of its own, which is made when it is first needed.
    ///
    /// # Errors
    ///
    /// If the node does not answer.
    pub async fn gossip(&self, frames: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, CallError> {
        let mut node = self.gossip.clone();
        let call = node.gossip(v1::GossipRequest { frames });
        match tokio::time::timeout(self.options.call_time_max, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().frames),
            Ok(Err(status)) => Err(CallError::of(status, &self.gossip_link)),
            Err(_) => Err(CallError::Stalled),
        }
    }

    /// Status of the node, by its own account.
    ///
    /// # Errors
    ///
    /// If the node does not answer.
    pub async fn status(&self) -> Result<Status, CallError> {
        let answer = self.call(|| {
            let mut node = self.node.clone();
            async move { node.status(v1::StatusRequest {}).await }
        });
        Ok(answer.await?.into())
    }

    /// The hash of each of the 2^`bits` subtrees at a depth, by the node's own account; zeros for
    /// an empty one.
    ///
    /// # Errors
    ///
    /// If the node does not answer.
    pub async fn cells(&self, bits: u8) -> Result<Vec<Hash>, CallError> {
        let answer = self.call(|| {
            let mut node = self.node.clone();
            async move { node.cells(v1::CellsRequest { bits: bits.into() }).await }
        });
        let answer = answer.await?;
        let (cells, rest) = answer.cells.as_chunks::<32>();
        if !rest.is_empty() || 1_usize.checked_shl(bits.into()) != Some(cells.len()) {
            return Err(Malformed::new("cells", "must be as many as were asked for").into());
        }
        Ok(cells.to_vec())
    }

    /// Tells the node to do something; ready when it is done, however long that takes.
    ///
    /// # Errors
    ///
    /// If it was not done, or nobody knows.
    pub async fn control(&self, what: Control) -> Result<Controlled, CallError> {
        let mut node = self.node.clone();
        let answer = node.control(v1::ControlRequest::from(what)).await;
        Ok(self.answered(Ok(answer))?.into())
    }
}
