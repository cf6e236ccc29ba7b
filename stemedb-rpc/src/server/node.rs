//! The node service.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::blocking::blocking;
use crate::{
    Reason,
    node::{CELL_BITS_MAX, Node, check_frames},
    proto::v1::{self, node_service_server},
};

/// The node service over a node.
#[derive(Debug)]
pub(crate) struct NodeService<N> {
    pub(crate) node: Arc<N>,
}

#[tonic::async_trait]
impl<N: Node> node_service_server::NodeService for NodeService<N> {
    async fn gossip(
        &self,
        request: Request<v1::GossipRequest>,
    ) -> Result<Response<v1::GossipResponse>, Status> {
        let frames = request.into_inner().frames;
        check_frames(&frames)?;
        let node = Arc::clone(&self.node);
        // Their signatures are many.
        let frames = blocking(move || Ok(node.gossip(frames))).await?;
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
