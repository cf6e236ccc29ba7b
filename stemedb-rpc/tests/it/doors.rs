//! Who is let in: TLS, mutual TLS, tokens, and nobody in plaintext from elsewhere.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use stemedb_rpc::{
    CallError, Client, ClientIdentity, ClientOptions, ClientTls, PeerAddress, Reason, Server,
    ServerOptions, ServerTls, Token, Tokens,
    proto::v1,
    server::{Rejection, ServeError},
    tls::TlsError,
};
use tonic::{Code, transport::Channel};

use super::world::{Environment, run, until};

/// An authority that makes certificates.
struct Authority(Issuer<'static, KeyPair>, String);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        Self(Issuer::new(params, key), certificate)
    }

    fn pem(&self) -> Vec<u8> {
        self.1.clone().into_bytes()
    }

    /// A certificate and its key.
    fn sign(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        self.sign_for(name, 1975, 4096)
    }

    /// A certificate for some years, and its key.
    fn sign_for(&self, name: &str, from: i32, until: i32) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }

    fn server(&self, client_ca: Option<&Self>) -> ServerOptions {
        let (certificate, key) = self.sign("127.0.0.1");
        let client_ca = client_ca.map(Self::pem);
        let tls = Some(ServerTls::new(certificate, key).client_ca(client_ca));
        ServerOptions::default().tls(tls)
    }

    fn client(&self, identity: Option<(Vec<u8>, Vec<u8>)>) -> ClientOptions {
        let identity = identity.map(|(certificate, key)| ClientIdentity { certificate, key });
        let tls = Some(ClientTls::new(self.pem()).identity(identity));
        hasty().tls(tls)
    }
}

/// A client that does not try for long.
fn hasty() -> ClientOptions {
    ClientOptions::default()
        .retries_max(1)
        .retry_pause(Duration::from_millis(1))
        .connect_time_max(Duration::from_secs(2))
        .call_time_max(Duration::from_secs(2))
}

/// Connects and asks something; a refusal of a certificate may come with either.
async fn head(world: &Environment, options: ClientOptions) -> Result<(), CallError> {
    world.client_with(options).await?.head().await.map(|_| ())
}

#[test]
fn a_server_with_tls_is_trusted_for_its_authority_only() {
    run(async {
        let (ours, theirs) = (Authority::new(), Authority::new());
        let world = Environment::new(ours.server(None)).await;
        head(&world, ours.client(None)).await.unwrap();
        head(&world, ours.client(Some(theirs.sign("client")))).await.unwrap();
        head(&world, theirs.client(None)).await.unwrap_err();
        head(&world, hasty()).await.unwrap_err();
        let mut other_name = ours.client(None);
        if let Some(tls) = &mut other_name.tls {
            tls.server_name = Some("elsewhere.example".into());
        }
        head(&world, other_name).await.unwrap_err();
        world.end().await;
    });
}

#[test]
fn mutual_tls_lets_in_who_has_a_certificate_of_the_authority() {
    run(async {
        let (ours, theirs) = (Authority::new(), Authority::new());
        let world = Environment::new(ours.server(Some(&ours))).await;
        head(&world, ours.client(Some(ours.sign("client")))).await.unwrap();
        head(&world, ours.client(None)).await.unwrap_err();
        head(&world, ours.client(Some(theirs.sign("client")))).await.unwrap_err();
        world.end().await;
    });
}

#[test]
fn certificates_that_are_no_good_are_said_so_at_once() {
    run(async {
        let ours = Authority::new();
        let address = ([127, 0, 0, 1], 0).into();
        let (certificate, key) = (ours.sign("127.0.0.1").0, ours.sign("127.0.0.1").1);
        for (certificate, key) in [(certificate, key), (Vec::new(), Vec::new())] {
            let tls = Some(ServerTls::new(certificate, key));
            let options = ServerOptions::default().tls(tls);
            let error = Server::bind(address, options).await.unwrap_err();
            assert!(matches!(error, ServeError::Tls(_)), "{error}");
        }
        let world = Environment::new(ours.server(None)).await;
        let mut options = ours.client(None);
        options.tls.as_mut().unwrap().ca = b"no certificate".to_vec();
        head(&world, options).await.unwrap_err();
        world.end().await;
    });
}

#[test]
fn nothing_is_sent_in_plaintext_to_others_unless_that_is_allowed() {
    run(async {
        let address = ([0, 0, 0, 0], 0).into();
        let error = Server::bind(address, ServerOptions::default()).await.unwrap_err();
        assert!(matches!(error, ServeError::Plaintext { .. }), "{error}");
        let options = ServerOptions::default().allow_plaintext(true);
        Server::bind(address, options).await.unwrap();

        let token = Some(Token::parse(RIGHT.as_bytes()).unwrap());
        let there: PeerAddress = "192.0.2.1:1".parse().unwrap();
        let options = hasty().token(token);
        let error = Client::connect(&there, options).await.unwrap_err();
        assert!(matches!(error, CallError::TokenInPlaintext { .. }), "{error}");
        let there: PeerAddress = "https://127.0.0.1:1".parse().unwrap();
        let error = Client::connect(&there, hasty()).await.unwrap_err();
        assert!(matches!(error, CallError::AuthorityMissing { .. }), "{error}");
        let there: PeerAddress = "http://127.0.0.1:1".parse().unwrap();
        let error = Client::connect(&there, Authority::new().client(None)).await.unwrap_err();
        assert!(matches!(error, CallError::TlsUnwanted { .. }), "{error}");
    });
}

const RIGHT: &str = "0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210";

fn tokens() -> ServerOptions {
    let tokens = Some(Tokens::parse(format!("{RIGHT}\n{OTHER}\n").as_bytes()).unwrap());
    ServerOptions::default().tokens(tokens).reflection(true)
}

#[test]
fn a_token_opens_everything_and_without_one_nothing_is_open() {
    run(async {
        let world = Environment::new(tokens()).await;
        for token in [RIGHT, OTHER] {
            let token = Some(Token::parse(token.as_bytes()).unwrap());
            head(&world, hasty().token(token)).await.unwrap();
        }
        let nearly = format!("{}0", &RIGHT[..RIGHT.len() - 1]);
        for token in [None, Some(Token::parse(nearly.as_bytes()).unwrap())] {
            let client = world.client_with(hasty().token(token)).await.unwrap();
            let refused = client.head().await.unwrap_err();
            assert_eq!(refused.reason(), Some(Reason::Token), "{refused}");
            let refused = client.append(b"body".to_vec()).await.unwrap_err();
            assert_eq!(refused.reason(), Some(Reason::Token), "{refused}");
            let refused = client.append_batch().await.unwrap_err();
            assert_eq!(refused.reason(), Some(Reason::Token), "{refused}");
            let mut traffic = stemedb_rpc::client::Traffic::default();
            let hello = super::sessions::hello(&world.store.keys(), 1, 0);
            let refused = super::sessions::ask(&client, hello, &mut traffic).await.unwrap_err();
            assert_eq!(refused.reason(), Some(Reason::Token), "{refused}");
        }
        assert_eq!((world.store.len(), world.sessions()), (0, 0));
        world.end().await;
    });
}

const CLIENT: &str = "a-token-that-clients-have";
const PEER: &str = "a-token-that-peers-have";
const ADMIN: &str = "a-token-of-administrators";

#[test]
fn a_token_permits_the_calls_of_its_scope_and_no_others() {
    run(async {
        let tokens = |text: &str| Some(Tokens::parse(text.as_bytes()).unwrap());
        let world = Environment::new(
            ServerOptions::default()
                .client_tokens(tokens(CLIENT))
                .peer_tokens(tokens(PEER))
                .admin_tokens(tokens(ADMIN)),
        )
        .await;
        for (name, (token, store, replication)) in (1..).zip([
            (CLIENT, None, Some(Reason::Forbidden)),
            (PEER, Some(Reason::Forbidden), None),
            (ADMIN, None, None),
            ("a-token-of-nobody-at-all", Some(Reason::Token), Some(Reason::Token)),
        ]) {
            let token = Some(Token::parse(token.as_bytes()).unwrap());
            let client = world.client_with(hasty().token(token)).await.unwrap();
            let refused = |answer: Option<CallError>| answer.and_then(|error| error.reason());
            assert_eq!(refused(client.head().await.err()), store);
            assert_eq!(refused(client.append(b"body".to_vec()).await.err()), store);
            let mut traffic = stemedb_rpc::client::Traffic::default();
            let hello = super::sessions::hello(&world.store.keys(), name, 0);
            assert_eq!(
                refused(super::sessions::ask(&client, hello, &mut traffic).await.err()),
                replication
            );
        }
        assert_eq!((world.store.len(), world.sessions()), (1, 2));
        world.end().await;
    });
}

async fn channel(world: &Environment) -> Channel {
    Channel::from_shared(format!("http://{}", world.address)).unwrap().connect().await.unwrap()
}

#[test]
fn health_is_open_and_covers_both_services() {
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
    run(async {
        let world = Environment::new(tokens()).await;
        let mut health = HealthClient::new(channel(&world).await);
        for service in ["", "stemedb.v1.StoreService", "stemedb.v1.ReplicationService"] {
            let request = HealthCheckRequest { service: service.into() };
            assert_eq!(health.check(request).await.unwrap().into_inner().status, 1, "{service}");
        }
        let request = HealthCheckRequest { service: "another".into() };
        assert_eq!(health.check(request).await.unwrap_err().code(), Code::NotFound);
        drop(health);
        world.end().await;
    });
}

#[test]
fn reflection_is_off_unless_asked_for_and_behind_the_token() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    run(async {
        let list = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let on = ServerOptions::default().reflection(true);
        for (options, code) in [
            (ServerOptions::default(), Code::Unimplemented),
            (tokens(), Code::Unauthenticated),
            (on, Code::Ok),
        ] {
            let world = Environment::new(options).await;
            let mut reflection = ServerReflectionClient::new(channel(&world).await);
            let answer =
                reflection.server_reflection_info(tokio_stream::iter([list.clone()])).await;
            match answer {
                Err(status) => assert_eq!(status.code(), code),
                Ok(answer) => {
                    let answer = answer.into_inner().message().await.unwrap().unwrap();
                    let told = format!("{answer:?}");
                    assert_eq!(code, Code::Ok);
                    assert!(told.contains("stemedb.v1.StoreService"), "{told}");
                    assert!(told.contains("stemedb.v1.ReplicationService"), "{told}");
                }
            }
            drop(reflection);
            world.end().await;
        }
    });
}

/// Tools that know only the name from before it was settled are told the same, services and types.
#[test]
fn reflection_answers_by_its_former_name_too() {
    use prost::Message as _;
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest,
    };
    run(async {
        let ask = |message_request| ServerReflectionRequest {
            host: String::new(),
            message_request: Some(message_request),
        };
        let asked = [
            ask(MessageRequest::ListServices(String::new())),
            ask(MessageRequest::FileContainingSymbol("stemedb.v1.StoreService".into())),
            ask(MessageRequest::FileContainingSymbol("grpc.health.v1.Health".into())),
        ];
        for (options, code) in [
            (ServerOptions::default(), Code::Unimplemented),
            (tokens(), Code::Unauthenticated),
            (ServerOptions::default().reflection(true), Code::Ok),
        ] {
            let world = Environment::new(options).await;
            let mut reflection = ServerReflectionClient::new(channel(&world).await);
            let answers =
                reflection.server_reflection_info(tokio_stream::iter(asked.clone())).await;
            match answers {
                Err(status) => assert_eq!(status.code(), code),
                Ok(answers) => {
                    assert_eq!(code, Code::Ok);
                    let mut answers = answers.into_inner();
                    for told in ["stemedb.v1.StoreService", "AppendRequest", "HealthCheckRequest"] {
                        let answer = answers.message().await.unwrap().unwrap();
                        let answer = String::from_utf8_lossy(&answer.encode_to_vec()).into_owned();
                        assert!(answer.contains(told), "{told}: {answer}");
                    }
                }
            }
            drop(reflection);
            world.end().await;
        }
    });
}

/// What a client is told, and what the server counts.
#[track_caller]
fn said(error: Option<CallError>, text: &str) {
    let error = error.unwrap();
    assert!(error.to_string().contains(text), "not {text:?}: {error}");
    assert!(!error.may_pass() && error.is_misconfigured(), "{error}");
}

#[test]
fn both_sides_know_why_they_do_not_meet() {
    run(async {
        let (ours, theirs) = (Authority::new(), Authority::new());
        let world = Environment::new(ours.server(Some(&ours))).await;
        let counted = async |reason, count| until(|| world.rejected(reason) >= count).await;
        let error = async |options| head(&world, options).await.err();

        said(error(hasty()).await, "the server wants TLS: use https://");
        counted(Rejection::TlsWanted, 1).await;
        let mut other = theirs.client(Some(ours.sign("client")));
        said(error(other.clone()).await, "the server's certificate comes from another authority");
        counted(Rejection::ServerCertificate, 1).await;
        other = ours.client(Some(ours.sign("client")));
        other.tls.as_mut().unwrap().server_name = Some("elsewhere.example".into());
        said(error(other).await, "is for 127.0.0.1, not for elsewhere.example");
        let nobody = ours.client(None);
        said(error(nobody).await, "refuses this side's certificate: it wants one, and got none");
        let foreign = ours.client(Some(theirs.sign("client")));
        said(error(foreign).await, "refuses this side's certificate");
        counted(Rejection::ClientCertificate, 2).await;
        world.end().await;

        let world = Environment::new(ServerOptions::default()).await;
        let error = head(&world, ours.client(None)).await.err();
        said(error, "the server does not use TLS: use http://");
        assert_eq!(world.rejected(Rejection::TlsUnwanted), 1);
        world.end().await;

        let world = Environment::new(tokens()).await;
        said(head(&world, hasty()).await.err(), "the server wants a token");
        assert_eq!(world.rejected(Rejection::Token), 1);
        world.end().await;

        let peers = Some(Tokens::parse(RIGHT.as_bytes()).unwrap());
        let world = Environment::new(ServerOptions::default().peer_tokens(peers)).await;
        let peer = hasty().token(Some(Token::parse(RIGHT.as_bytes()).unwrap()));
        said(head(&world, peer).await.err(), "it needs a token of another scope");
        let counts = [Rejection::Forbidden, Rejection::Token].map(|reason| world.rejected(reason));
        assert_eq!(counts, [1, 0]);
        world.end().await;
    });
}

#[test]
fn who_is_nowhere_is_said_to_be_nowhere() {
    run(async {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (address, text) in [
            ("nosuch.invalid".to_owned(), "no such host"),
            (free.to_string(), "connection refused: nothing listens there"),
        ] {
            let address: PeerAddress = address.parse().unwrap();
            let error = Client::connect(&address, hasty()).await.unwrap_err();
            assert!(error.to_string().contains(text), "{error}");
            assert!(error.may_pass() && !error.is_misconfigured(), "{error}");
        }
    });
}

#[test]
fn a_client_of_http_1_gets_a_sentence_too() {
    use std::io::{Read as _, Write as _};
    run(async {
        for (options, request, answer) in [
            (Authority::new().server(None), &b"GET / HTTP/1.1\r\n\r\n"[..], "wants TLS"),
            (ServerOptions::default(), b"\x16\x03\x01\x02\0\x01", "does not use TLS"),
        ] {
            let world = Environment::new(options).await;
            let address = world.address;
            let asking = tokio::task::spawn_blocking(move || {
                let mut stream = std::net::TcpStream::connect(address).unwrap();
                stream.write_all(request).unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                text
            });
            let text = asking.await.unwrap();
            assert!(text.starts_with("HTTP/1.1 400") && text.contains(answer), "{text}");
            world.end().await;
        }
    });
}

#[test]
fn certificates_out_of_their_time_are_refused_before_anything_is_served() {
    run(async {
        let ours = Authority::new();
        let address = ([127, 0, 0, 1], 0).into();
        for (from, until, text) in [
            (2020, 2021, "the certificate: expired on 2021-01-01T00:00:00Z"),
            (2090, 2091, "the certificate: not valid before 2090-01-01T00:00:00Z"),
        ] {
            let (certificate, key) = ours.sign_for("127.0.0.1", from, until);
            let tls = ServerTls::new(certificate.clone(), key.clone());
            let options = ServerOptions::default().tls(Some(tls));
            let error = Server::bind(address, options).await.unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
            let client = ours.client(Some((certificate, key)));
            let error = Client::connect(&address.into(), client).await.unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
        // An expired authority of clients counts for none, and may stand beside its successor.
        let (certificate, key) = ours.sign("127.0.0.1");
        let expired = ours.sign_for("127.0.0.1", 2020, 2021).0;
        let with = |authorities: Vec<u8>| {
            let tls = ServerTls::new(certificate.clone(), key.clone());
            tls.client_ca(Some(authorities)).check().map_err(|error| error.to_string())
        };
        let error = with(expired.clone()).unwrap_err();
        assert!(error.contains("the authority: expired on 2021-01-01T00:00:00Z"), "{error}");
        with([&expired[..], &ours.pem()].concat()).unwrap();
        let tls = ServerTls::new(ours.sign("127.0.0.1").0, ours.sign("127.0.0.1").1);
        assert!(matches!(tls.check(), Err(TlsError::WrongPair)), "{:?}", tls.check());
        let tls = ServerTls::new(ours.sign("127.0.0.1").0, b"no key".to_vec());
        assert!(matches!(tls.check(), Err(TlsError::Key(_))), "{:?}", tls.check());
    });
}

#[test]
fn certificates_and_tokens_are_replaced_while_it_serves() {
    run(async {
        let (old, new) = (Authority::new(), Authority::new());
        let tokens = |token: &str| Some(Tokens::parse(token.as_bytes()).unwrap());
        let show = |options: ClientOptions, token: &str| {
            options.token(Some(Token::parse(token.as_bytes()).unwrap()))
        };
        let world = Environment::new(old.server(Some(&old)).tokens(tokens(RIGHT))).await;
        let with = |authority: &Authority| authority.client(Some(authority.sign("client")));
        let before = world.client_with(show(with(&old), RIGHT)).await.unwrap();
        before.head().await.unwrap();
        let mut options = new.server(Some(&new)).tokens(tokens(OTHER));
        world.credentials.replace(&options).unwrap();
        let error = before.head().await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::Token), "tokens count for each call: {error}");
        head(&world, show(with(&new), OTHER)).await.unwrap();
        said(head(&world, show(with(&old), OTHER)).await.err(), "another authority");
        // Certificates that can't be used are not taken; tokens are all the same.
        let pair = new.sign_for("127.0.0.1", 2020, 2021);
        for (certificate, key) in [pair, (new.sign("127.0.0.1").0, b"no key".to_vec())] {
            let tls = options.tls.as_mut().unwrap();
            (tls.certificate, tls.key) = (certificate, key);
            options.tokens = tokens(RIGHT);
            world.credentials.replace(&options).unwrap_err();
            head(&world, show(with(&new), RIGHT)).await.unwrap();
            let error = head(&world, show(with(&new), OTHER)).await.unwrap_err();
            assert_eq!(error.reason(), Some(Reason::Token), "{error}");
            options.tokens = tokens(OTHER);
            world.credentials.replace(&options).unwrap_err();
            head(&world, show(with(&new), OTHER)).await.unwrap();
        }
        drop(before);
        world.end().await;
    });
}

#[test]
fn a_server_that_others_reach_does_not_turn_to_plaintext() {
    run(async {
        let ours = Authority::new();
        let options = ours.server(None);
        let server = Server::bind(([0, 0, 0, 0], 0).into(), options.clone()).await.unwrap();
        let credentials = server.credentials();
        let plaintext = options.clone().tls(None);
        let error = credentials.replace(&plaintext).unwrap_err();
        assert!(matches!(error, ServeError::Plaintext { .. }), "{error}");
        credentials.replace(&plaintext.allow_plaintext(true)).unwrap();
        credentials.replace(&options).unwrap();
    });
}

/// One that is over the number of its address says nothing, or begins TLS and does not go on.
#[test]
fn refused_connections_last_two_seconds() {
    run(async {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut options = Authority::new().server(None);
        options.limits.connections_per_address_max = 1;
        let world = Environment::new(options).await;
        let _held = tokio::net::TcpStream::connect(world.address).await.unwrap();
        for first in [&b""[..], b"\x16\x03\x01\x02\0\x01"] {
            let mut refused = tokio::net::TcpStream::connect(world.address).await.unwrap();
            let began = tokio::time::Instant::now();
            refused.write_all(first).await.unwrap();
            let mut said = Vec::new();
            let _end = refused.read_to_end(&mut said).await;
            let took = began.elapsed().as_secs_f64();
            assert!((1.5..4.0).contains(&took), "{first:?}: {took} s");
        }
        world.end().await;
    });
}

/// A client of another make, with limits of its own.
#[test]
fn a_message_over_the_limit_is_refused_and_nothing_else_suffers() {
    run(async {
        let world = Environment::new(ServerOptions::default()).await;
        let mut store = v1::store_service_client::StoreServiceClient::new(channel(&world).await);
        let body = vec![0; stemedb_rpc::limits::MESSAGE_LEN_MAX];
        let status =
            store.append(v1::AppendRequest { body, ..Default::default() }).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{status}");
        let body = vec![0; 2 << 20];
        store.append(v1::AppendRequest { body, ..Default::default() }).await.unwrap();
        assert_eq!(world.store.len(), 1);
        drop(store);
        world.end().await;
    });
}
