//! Bodies over gRPC with nothing on either side: no store, no ids, no sessions.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use stemedb_rpc::proto::v1::replication_service_client::ReplicationServiceClient;
use stemedb_rpc::proto::v1::replication_service_server::{
    ReplicationService, ReplicationServiceServer,
};
use stemedb_rpc::proto::v1::{
    BodiesEnd, BodiesResponse, DescendRequest, DescendResponse, Echo, Envelope, FetchRequest,
    FinishRequest, FinishResponse, HelloRequest, HelloResponse, IdsRequest, IdsResponse,
    LeaveRequest, LeaveResponse, PushRequest, PushResponse, SymbolsRequest, SymbolsResponse,
    TailRequest,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::Failure;
use crate::body;
use crate::contest::Sample;
use crate::ours::served::{rate, runtime};

/// Bytes of bodies in a frame, as ours have it.
const FRAME_LEN: usize = 256 << 10;
const MESSAGE_LEN_MAX: usize = 4 << 20;

/// A server that sends and takes frames.
struct Bare {
    frame: Arc<[u8]>,
}

type Parts<M> = tokio_stream::Iter<Box<dyn Iterator<Item = Result<M, Status>> + Send>>;
type Frames = Parts<BodiesResponse>;

#[async_trait]
impl ReplicationService for Bare {
    type HelloStream = Parts<HelloResponse>;
    type SymbolsStream = Parts<SymbolsResponse>;
    type FetchStream = Frames;
    type TailStream = Frames;

    async fn tail(&self, asked: Request<TailRequest>) -> Result<Response<Frames>, Status> {
        let (frame, count) = (Arc::clone(&self.frame), asked.get_ref().count);
        let frames = (0..count).map(move |place| {
            let end = (place + 1 == count).then_some(BodiesEnd { processed: count });
            let (session, mac) = (vec![7; 16], vec![7; 16]);
            let echo = Some(Echo { session, snapshot: 1 << 20, request: 9, mac });
            let part = place as u32;
            Ok(BodiesResponse { echo, part, bytes: frame.to_vec(), len: 0, end })
        });
        let frames: Box<dyn Iterator<Item = _> + Send> = Box::new(frames);
        Ok(Response::new(tokio_stream::iter(frames)))
    }

    async fn push(
        &self,
        asked: Request<Streaming<PushRequest>>,
    ) -> Result<Response<PushResponse>, Status> {
        let mut parts = asked.into_inner();
        let mut appended = 0;
        while let Some(part) = parts.message().await? {
            appended += part.bytes.len() as u64;
        }
        Ok(Response::new(PushResponse { echo: None, appended, duplicates: 0 }))
    }

    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<Self::HelloStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn symbols(
        &self,
        _: Request<SymbolsRequest>,
    ) -> Result<Response<Self::SymbolsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn ids(&self, _: Request<IdsRequest>) -> Result<Response<IdsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn descend(
        &self,
        _: Request<DescendRequest>,
    ) -> Result<Response<DescendResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn fetch(&self, _: Request<FetchRequest>) -> Result<Response<Frames>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn leave(&self, _: Request<LeaveRequest>) -> Result<Response<LeaveResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn finish(&self, _: Request<FinishRequest>) -> Result<Response<FinishResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// Which way the frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    ToClient,
    ToServer,
}

/// The bytes of so many bodies and their lengths, in frames, over one stream.
pub(crate) fn frames(bodies: u64, len: usize, way: Way) -> Result<Sample, Failure> {
    let count = (bodies * (len as u64 + 2)).div_ceil(FRAME_LEN as u64);
    let mut frame = vec![0; FRAME_LEN];
    body::fill(1, &mut frame);
    let frame: Arc<[u8]> = frame.into();
    let (serving, asking) = (runtime()?, runtime()?);
    let listener = serving.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let address: SocketAddr = listener.local_addr()?;
    let service = ReplicationServiceServer::new(Bare { frame: Arc::clone(&frame) })
        .max_decoding_message_size(MESSAGE_LEN_MAX);
    serving.spawn(
        tonic::transport::Server::builder()
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(2 << 20)
            .tcp_nodelay(true)
            .add_service(service)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    let seconds = asking.block_on(async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?
            .initial_stream_window_size(2 << 20)
            .initial_connection_window_size(4 << 20)
            .tcp_nodelay(true);
        let mut client = ReplicationServiceClient::new(endpoint.connect().await?)
            .max_decoding_message_size(MESSAGE_LEN_MAX);
        let started = Instant::now();
        let mut bytes = 0;
        if way == Way::ToClient {
            let asked = TailRequest { envelope: None, from: 0, count, zstd: false };
            let mut parts = client.tail(asked).await?.into_inner();
            while let Some(part) = parts.message().await? {
                bytes += part.bytes.len() as u64;
            }
        } else {
            let parts = (0..count).map(move |place| PushRequest {
                envelope: Some(Envelope {
                    session: vec![7; 16],
                    snapshot: 1 << 20,
                    request: 9,
                    mac: vec![7; 16],
                }),
                part: place as u32,
                bytes: frame.to_vec(),
                len: 0,
                last: place + 1 == count,
            });
            bytes = client.push(tokio_stream::iter(parts)).await?.into_inner().appended;
        }
        if bytes != count * FRAME_LEN as u64 {
            return Err("frames were lost".into());
        }
        Ok::<_, Failure>(started.elapsed().as_secs_f64())
    })?;
    asking.shutdown_background();
    serving.shutdown_background();
    Ok(rate(bodies, len, seconds))
}
