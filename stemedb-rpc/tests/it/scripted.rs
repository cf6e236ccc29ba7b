//! A server whose streams of answers are written down beforehand.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, Ready, ready},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use prost::Message;
use stemedb_rpc::{Client, ClientOptions};
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::http,
    server::{Grpc, NamedService, ServerStreamingService},
    transport::server::{Server, TcpIncoming},
};
use tower_service::Service;

/// Answers to one call: messages, and how it ends if not well.
pub(crate) type Answer<R> = Vec<Result<R, Status>>;

/// Answers to calls of the store service, whichever they are, one after the other. Clones share
/// them.
#[derive(Debug)]
pub(crate) struct Scripted<Q, R>(Arc<Mutex<Script<Q, R>>>);

#[derive(Debug)]
struct Script<Q, R> {
    answers: VecDeque<Answer<R>>,
    asked: Vec<Q>,
}

impl<Q, R> Clone for Scripted<Q, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<Q, R> Scripted<Q, R>
where
    Q: Message + Default + Clone + 'static,
    R: Message + Default + 'static,
{
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer<R>>) -> Self {
        let script = Script { answers: answers.into_iter().collect(), asked: Vec::new() };
        Self(Arc::new(Mutex::new(script)))
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> Vec<Q> {
        self.0.lock().unwrap().asked.clone()
    }

    /// Serves, and gives a client that tries again soon.
    pub(crate) async fn client(&self) -> Client {
        let incoming = TcpIncoming::bind(([127, 0, 0, 1], 0).into()).unwrap();
        let address: SocketAddr = incoming.local_addr().unwrap();
        tokio::spawn(Server::builder().add_service(self.clone()).serve_with_incoming(incoming));
        let pause = std::time::Duration::from_millis(1);
        let options = ClientOptions::default().retry_pause(pause);
        Client::connect(&address.into(), options).await.unwrap()
    }
}

impl<Q, R> ServerStreamingService<Q> for Scripted<Q, R>
where
    Q: Message + Default + 'static,
    R: Message + Default + 'static,
{
    type Response = R;
    type ResponseStream = tokio_stream::Iter<std::vec::IntoIter<Result<R, Status>>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let mut script = self.0.lock().unwrap();
        script.asked.push(request.into_inner());
        let answer = script.answers.pop_front().ok_or_else(|| Status::internal("asked too often"));
        ready(answer.map(|answer| Response::new(tokio_stream::iter(answer))))
    }
}

impl<Q, R> Service<http::Request<Body>> for Scripted<Q, R>
where
    Q: Message + Default + 'static,
    R: Message + Default + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let codec = tonic_prost::ProstCodec::default();
            Ok(Grpc::new(codec).server_streaming(service, request).await)
        })
    }
}

impl<Q, R> NamedService for Scripted<Q, R> {
    const NAME: &'static str = "stemedb.v1.StoreService";
}
