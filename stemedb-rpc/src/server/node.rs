//! The node service.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::store::blocking;
use crate::{
    Reason,
    node::{CELL_BITS_MAX, Control, Node, check_frames},
    proto::v1::{self, control_request::What, node_service_server},
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
        let json = blocking(move || Ok(node.status())).await?;
        Ok(Response::new(v1::StatusResponse { json }))
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
        let what = match request.into_inner().what.ok_or(Reason::Malformed)? {
            What::Pause(_) => Control::Pause,
            What::Resume(_) => Control::Resume,
            What::SyncNow(trigger) => {
                Control::SyncNow(Some(trigger.peer).filter(|peer| !peer.is_empty()))
            }
            What::Reload(_) => Control::Reload,
        };
        let message = self.node.control(what).await?;
        Ok(Response::new(v1::ControlResponse { message }))
    }
}
