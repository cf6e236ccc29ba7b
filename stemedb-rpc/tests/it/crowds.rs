//! Peers with the secret that open sessions under names of others.

use stemedb_merkle::Root;
use stemedb_rpc::{
    ServerOptions,
    proto::v1::{self, hello_response::Part, replication_service_client::ReplicationServiceClient},
    reason::refusal_of,
};
use stemedb_sync::{
    Keys,
    message::{Ask, AskSymbols, Envelope, Hello, Refusal, Request, Response, SetHead},
};
use tonic::{Status, transport::Channel};

use super::{
    stores::TestStore,
    world::{Environment, run},
};

/// Opens a session as some node.
async fn open(
    client: &mut ReplicationServiceClient<Channel>,
    keys: &Keys,
    name: [u8; 16],
    session: u8,
) -> Result<Response, Status> {
    let envelope = Envelope { session: [session; 16], snapshot: 0, request: 1, mac: [0; 16] };
    let set = SetHead { count: 1, root: Root([9; 32]) };
    let mut hello = Hello {
        version: 1,
        node: name,
        epoch: 1,
        proof: [0; 16],
        set,
        time: 0,
        cursor: None,
        symbols: 0,
    };
    hello.proof = keys.initiator_proof(&envelope.session, &hello);
    let answer = client.hello(v1::HelloRequest::from((envelope, hello))).await?;
    match answer.into_inner().message().await?.unwrap().part.unwrap() {
        Part::Welcome(welcome) => Ok(welcome.try_into().unwrap()),
        Part::Symbols(_) => panic!(),
    }
}

/// Whether a session is still there.
async fn goes_on(
    client: &mut ReplicationServiceClient<Channel>,
    keys: &Keys,
    welcome: &Response,
) -> Result<(), Status> {
    let Response { echo, answer: stemedb_sync::message::Answer::Welcome(welcome) } = welcome else {
        panic!()
    };
    let key = keys.session_key(&echo.session, &welcome.nonce);
    let (session, snapshot) = (echo.session, echo.snapshot);
    let envelope = Envelope { session, snapshot, request: 2, mac: [0; 16] };
    let ask = AskSymbols { from: 0, count: 1 };
    let sealed = key.seal_request(Request { envelope, ask: Ask::Symbols(ask) });
    let parts = client.symbols(v1::SymbolsRequest::from((sealed.envelope, ask))).await?;
    parts.into_inner().message().await.map(drop)
}

#[test]
fn no_address_takes_sessions_from_another() {
    run(async {
        let store = TestStore::of(Some(b"a secret of a cluster"), 0..10);
        let keys = store.keys();
        let world = Environment::with(ServerOptions::default(), store).await;
        let address = world.address;
        let connect = async |last: u8| {
            let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
            let endpoint = endpoint.local_address(Some([127, 0, 0, last].into()));
            ReplicationServiceClient::new(endpoint.connect().await.unwrap())
        };
        let (mut honest, mut other) = (connect(1).await, connect(2).await);
        let welcome = open(&mut honest, &keys, [2; 16], 1).await.unwrap();
        for session in 10..20 {
            open(&mut other, &keys, [2; 16], session).await.unwrap();
        }
        goes_on(&mut honest, &keys, &welcome).await.unwrap();
        let mut refused = 0;
        for name in 20..120 {
            match open(&mut other, &keys, [name; 16], name).await {
                Ok(_) => {}
                Err(status) if refusal_of(&status) == Some(Refusal::Busy) => refused += 1,
                Err(status) => panic!("{status}"),
            }
        }
        assert_eq!((refused, world.sessions()), (100 - 28, 33));
        goes_on(&mut honest, &keys, &welcome).await.unwrap();
        open(&mut honest, &keys, [3; 16], 2).await.unwrap();
        drop(world);
    });
}
