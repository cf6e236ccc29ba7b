//! The node service.

use std::sync::Arc;

use stemedb_sync::{cluster::FrameError, message::Refusal};
use tonic::{Request, Response, Status};

use super::{
    blocking::blocking,
    connection::Caller,
    rejection::{Rejection, Rejections},
};
use crate::{
    Reason,
    node::{CELL_BITS_MAX, Gossiped, Node, check_frames},
    proto::v1::{self, node_service_server},
    reason::refusal_status,
};

/// The node service over a node.
#[derive(Debug)]
pub(crate) struct NodeService<N> {
    pub(crate) node: Arc<N>,
    pub(crate) rejections: Rejections,
}

#[tonic::async_trait]
impl<N: Node> node_service_server::NodeService for NodeService<N> {
    async fn gossip(
        &self,
        request: Request<v1::GossipRequest>,
    ) -> Result<Response<v1::GossipResponse>, Status> {
        let address = request.extensions().get::<Caller>().map(Caller::address);
        let frames = request.into_inner().frames;
        check_frames(&frames)?;
        let node = Arc::clone(&self.node);
        // Their signatures are many.
        let Gossiped { frames, refused } = blocking(move || node.gossip(frames)).await?;
        if let Some(error) = refused {
            let (rejection, refusal) = match error {
                FrameError::Secret => (Rejection::Secret, Some(Refusal::Secret)),
                FrameError::Version(_) => (Rejection::Version, Some(Refusal::Version)),
                FrameError::Signature => (Rejection::Signature, None),
                _ => (Rejection::Gossip, None),
            };
            self.rejections.note(address, rejection, error);
            // Who is answered belongs here, whatever else came with it.
            if let Some(refusal) = refusal.filter(|_| frames.is_empty()) {
                return Err(refusal_status(refusal));
            }
        }
        Ok(Response::new(v1::GossipResponse { frames }))
    }

    async fn status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::StatusResponse>, Status> {
        let node = Arc::clone(&self.node);
        let status = blocking(move || Ok(node.status())).await?;
        Ok(Response::new(status.into()))
    }

    async fn cells(
        &self,
        request: Request<v1::CellsRequest>,
    ) -> Result<Response<v1::CellsResponse>, Status> {
        let bits = u8::try_from(request.into_inner().bits).ok();
        let bits = bits.filter(|bits| *bits <= CELL_BITS_MAX).ok_or(Reason::Malformed)?;
        let node = Arc::clone(&self.node);
        let cells = blocking(move || Ok(node.cells(bits)?.concat())).await?;
        Ok(Response::new(v1::CellsResponse { cells }))
    }

    async fn control(
        &self,
        request: Request<v1::ControlRequest>,
    ) -> Result<Response<v1::ControlResponse>, Status> {
        let done = self.node.control(request.into_inner().try_into()?).await?;
        Ok(Response::new(done.into()))
    }
}
