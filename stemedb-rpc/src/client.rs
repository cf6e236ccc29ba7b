//! A client of all services of one server.
//!
//! All calls can be repeated safely, as a store never holds a body twice; so what fails for a
//! reason that may pass is tried again, a few times, with growing pauses.

mod address;
mod batch;
mod connect_failure;
mod connector;
mod entry_list;
mod error;
mod get;
mod id_list;
mod list;
mod node;
pub(crate) mod replication;
mod resumed;
mod watch;

use std::{future::Future, str::FromStr as _, sync::Arc, time::Duration};

use backon::{ExponentialBuilder, Retryable as _};
use stemedb_merkle::{AssertionId, Root, proof::SetProof};
use stemedb_store::{Head, Receipt, error::with_causes};
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::rustls::pki_types::UnixTime;
use tonic::{
    Request, Response, Status,
    codegen::http::Uri,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use self::connector::{Connector, Diagnosis, Link};
pub use self::{
    address::{DEFAULT_PORT, ParseAddressError, PeerAddress},
    batch::{BatchReceipts, BatchSender},
    connect_failure::{CertificateFault, ConnectFailure},
    entry_list::{EntryList, EntryRange},
    error::{CallError, PeerText},
    id_list::IdList,
    replication::{AnswerParts, Traffic},
    watch::{Watch, Watched},
};
use crate::{
    Malformed, check,
    limits::{MESSAGE_LEN_MAX, PART_LEN_MAX},
    proto::v1::{
        self, node_service_client::NodeServiceClient,
        replication_service_client::ReplicationServiceClient,
        store_service_client::StoreServiceClient,
    },
    tls::ClientTls,
    token::Token,
};

stemedb_merkle::options! {
    /// How a client behaves. The default is without TLS and token.
    #[derive(Clone, Debug)]
    pub struct ClientOptions {
        /// TLS; `None` talks in plaintext.
        pub tls: Option<ClientTls> = None,
        /// The token to show.
        pub token: Option<Token> = None,
        /// Whether to send the token in plaintext to other machines, where others can read along.
        /// Default: no.
        pub send_token_in_plaintext: bool = false,
        /// Time to connect, for a TLS handshake too: 5 seconds.
        pub connect_time_max: Duration = Duration::from_secs(5),
        /// Time for a call to be answered: 15 seconds.
        pub call_time_max: Duration = Duration::from_secs(15),
        /// Time from one message of a stream to the next, and for the server to take one in: 30
        /// seconds.
        pub idle_time_max: Duration = Duration::from_secs(30),
        /// Time without a sign of life, while a call is under way, after which the other side is
        /// asked for one: 10 seconds. A connection without calls is asked by the server only.
        pub keepalive_interval: Duration = Duration::from_secs(10),
        /// Time for that sign: 10 seconds.
        pub keepalive_time_max: Duration = Duration::from_secs(10),
        /// How often a call is tried again: 4 times.
        pub retries_max: usize = 4,
        /// The pause before that, which doubles each time, and is up to twice as long by chance: 50
        /// milliseconds.
        pub retry_pause: Duration = Duration::from_millis(50),
        /// The longest pause before a [`Watch`] that was cut is tried again: 30 seconds.
        pub watch_pause_max: Duration = Duration::from_secs(30),
        /// The longest body that is taken from a server, in bytes: 16 MiB.
        pub body_len_max: usize = 16 << 20,
    }
}

/// The longest headers of an answer, in bytes.
const HEADERS_LEN_MAX: u32 = 16 << 10;
/// Bytes that can be under way unread: of a stream, and of a connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

type Wire = InterceptedService<Channel, Bearer>;
type Store = StoreServiceClient<Wire>;

/// Shows the token with each call.
#[derive(Clone, Debug)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(header) = &self.0 {
            request.metadata_mut().insert("authorization", header.clone());
        }
        Ok(request)
    }
}

/// A connection to a server, which is made again whenever it breaks, and one for gossip. Clones
/// share them.
#[derive(Clone, Debug)]
pub struct Client {
    link: Link,
    store: Store,
    replication: ReplicationServiceClient<Wire>,
    node: NodeServiceClient<Wire>,
    /// Over a connection of its own, so that bodies do not delay it.
    gossip: NodeServiceClient<Wire>,
    gossip_link: Link,
    options: ClientOptions,
}

impl Client {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// If it can't be reached, its certificate is not one to trust, or the token would be shown to
    /// anybody who reads along.
    pub async fn connect(peer: &PeerAddress, options: ClientOptions) -> Result<Self, CallError> {
        if options.tls.is_none() {
            if peer.wants_tls() {
                return Err(CallError::AuthorityMissing { peer: peer.clone() });
            }
            if options.token.is_some() && !peer.is_here() && !options.send_token_in_plaintext {
                return Err(CallError::TokenInPlaintext { peer: peer.clone() });
            }
        } else if peer.refuses_tls() {
            return Err(CallError::TlsUnwanted { peer: peer.clone() });
        }
        let endpoint = endpoint(peer, &options).map_err(CallError::Options)?;
        let tls = options.tls.as_ref().map(|tls| tls.config(UnixTime::now())).transpose()?;
        let tls = tls.map(Arc::new);
        let link = Link { peer: peer.clone(), diagnosis: Diagnosis::default() };
        let gossip_link = Link { peer: peer.clone(), diagnosis: Diagnosis::default() };
        let connector =
            |link: &Link| Connector::new(peer, &options, tls.clone(), link.diagnosis.clone());
        let (wire, gossip) = (connector(&link)?, connector(&gossip_link)?);
        let connect = || async {
            let connecting = async {
                if peer.is_socket() {
                    endpoint.connect().await
                } else {
                    endpoint.connect_with_connector(wire.clone()).await
                }
            };
            match timeout(options.connect_time_max * 3, connecting).await {
                Ok(channel) => channel.map_err(|error| {
                    let cause = link.diagnosis.get();
                    let cause = cause.unwrap_or_else(|| ConnectFailure::Io(with_causes(&error)));
                    CallError::Connect { peer: peer.clone(), cause }
                }),
                Err(_) => Err(CallError::Stalled),
            }
        };
        let channel = connect.retry(pauses(&options)).when(CallError::may_pass).await?;
        let bearer = Bearer(options.token.as_ref().map(Token::header));
        let gossip = if peer.is_socket() {
            endpoint.connect_lazy()
        } else {
            endpoint.connect_with_connector_lazy(gossip)
        };
        let gossip = InterceptedService::new(gossip, bearer.clone());
        let wire = InterceptedService::new(channel, bearer);
        let store = StoreServiceClient::new(wire.clone())
            .max_decoding_message_size(MESSAGE_LEN_MAX)
            .max_encoding_message_size(MESSAGE_LEN_MAX);
        let node = NodeServiceClient::new(wire.clone())
            .max_decoding_message_size(MESSAGE_LEN_MAX)
            .max_encoding_message_size(MESSAGE_LEN_MAX);
        let gossip = NodeServiceClient::new(gossip)
            .max_decoding_message_size(MESSAGE_LEN_MAX)
            .max_encoding_message_size(MESSAGE_LEN_MAX);
        let replication = ReplicationServiceClient::new(wire)
            .max_decoding_message_size(MESSAGE_LEN_MAX)
            .max_encoding_message_size(MESSAGE_LEN_MAX);
        Ok(Self { link, store, replication, node, gossip, gossip_link, options })
    }

    /// Address of the server.
    pub fn peer(&self) -> &PeerAddress {
        &self.link.peer
    }

    /// Appends a body. Ready once it is durable there.
    ///
    /// # Errors
    ///
    /// If the server does not take it, or nobody knows whether it did.
    pub async fn append(&self, body: Vec<u8>) -> Result<Receipt, CallError> {
        if body.len() > PART_LEN_MAX {
            return self.append_long(body).await;
        }
        let check = check::of_body(&body);
        let request = v1::AppendRequest { body, check };
        let answer = self.call(|| {
            let (mut store, request) = (self.store.clone(), request.clone());
            async move { store.append(request).await }
        });
        let receipt = answer.await?.receipt;
        Ok(receipt.ok_or(Malformed::missing("receipt"))?.try_into()?)
    }

    async fn append_long(&self, body: Vec<u8>) -> Result<Receipt, CallError> {
        let append = || async {
            let (mut sender, mut receipts) = self.append_batch().await?;
            let sending = async {
                let sent = sender.send(vec![body.clone()]).await;
                drop(sender);
                sent
            };
            let (sent, received) = tokio::join!(sending, receipts.next());
            // Why it was not taken is known to the receiving half.
            let received = received.transpose()?;
            sent?;
            let receipt = received.and_then(|receipts| receipts.first().copied());
            Ok(receipt.ok_or(Malformed::missing("receipts"))?)
        };
        append.retry(pauses(&self.options)).when(CallError::may_pass).await
    }

    /// Head of the store there, by its own account.
    ///
    /// # Errors
    ///
    /// If the server does not answer.
    pub async fn head(&self) -> Result<Head, CallError> {
        let answer = self.call(|| {
            let mut store = self.store.clone();
            async move { store.head(v1::HeadRequest {}).await }
        });
        Ok(answer.await?.try_into()?)
    }

    /// A proof that an id is in the store there, or is not, and the set root that it is for, which
    /// means nothing unless it is trusted for another reason. The proof does verify against it.
    ///
    /// # Errors
    ///
    /// If the server does not answer, or with a proof of something else.
    pub async fn prove(&self, id: &AssertionId) -> Result<(SetProof, Root), CallError> {
        let request = v1::ProveRequest { id: id.0.to_vec() };
        let answer = self.call(|| {
            let (mut store, request) = (self.store.clone(), request.clone());
            async move { store.prove(request).await }
        });
        let (proof, set_root) = <(SetProof, Root)>::try_from(answer.await?)?;
        if proof.id != id.0 {
            return Err(Malformed::new("id", "must be the one asked about").into());
        }
        proof.verify(&set_root).map_err(CallError::WrongProof)?;
        Ok((proof, set_root))
    }

    /// A call that has one answer: with a deadline, and tried again where that may help.
    async fn call<T, F>(&self, call: impl Fn() -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let once = || async { self.answered(timeout(self.options.call_time_max, call()).await) };
        once.retry(pauses(&self.options)).when(CallError::may_pass).await
    }

    /// Answer of a server to a call, if it came in time.
    fn answered<T>(
        &self,
        answer: Result<Result<Response<T>, Status>, Elapsed>,
    ) -> Result<T, CallError> {
        match answer {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(CallError::of(status, &self.link)),
            Err(_) => Err(CallError::Stalled),
        }
    }
}

fn pauses(options: &ClientOptions) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(options.retry_pause)
        .with_max_delay(options.retry_pause * 32)
        .with_max_times(options.retries_max)
        .with_jitter()
}

fn endpoint(
    peer: &PeerAddress,
    options: &ClientOptions,
) -> Result<Endpoint, tonic::transport::Error> {
    // TLS is the connector's: for tonic the connection is in plaintext.
    let endpoint = Endpoint::from_shared(peer.uri(false))?
        .user_agent(concat!("stemedb/", env!("CARGO_PKG_VERSION")))?
        .http2_keep_alive_interval(options.keepalive_interval)
        .keep_alive_timeout(options.keepalive_time_max)
        // A node has two connections to each other one, and hardly says anything over them.
        .keep_alive_while_idle(false)
        .http2_max_header_list_size(HEADERS_LEN_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .tcp_nodelay(true);
    match Uri::from_str(&peer.uri(true)) {
        Ok(origin) if options.tls.is_some() => Ok(endpoint.origin(origin)),
        _ => Ok(endpoint),
    }
}
