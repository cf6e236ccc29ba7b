//! Nodes in one process, over real sockets: they find each other, bring each other into step, and
//! come through what happens to them.

pub(crate) mod hostile;

use crate::cluster::frames;
use crate::reference::world;
use std::{
    net::SocketAddr,
    os::unix::net::UnixListener,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use stemedb::node::status::{PauseReason, PeerState, ProblemCode};

use stemedb::{
    Options as StoreOptions, Secret, Store,
    node::{Ended, Node, NodeError, Options, options::SyncPolicy},
    rpc::{
        CallError, Client, ClientOptions, Control, PeerAddress, Reason, ServerOptions, Token,
        Tokens,
    },
};
use stemedb_simdisk::{FaultyDisk, Operation};
use tempfile::TempDir;
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep},
};

use world::ENVIRONMENT;

/// Long enough for a slow machine that does much else.
const PATIENCE: Duration = Duration::from_secs(30);

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn options() -> Options {
    let sync = SyncPolicy::default().interval(Duration::from_secs(2));
    Options::default().listen(loopback()).http(Some(loopback())).sync(sync)
}

struct Running {
    node: Node,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<Ended, NodeError>>,
}

impl Running {
    async fn start(dir: &Path, options: Options) -> Self {
        Self::with(dir, StoreOptions::default(), options).await
    }

    async fn with(dir: &Path, store: StoreOptions, options: Options) -> Self {
        let store = Arc::new(Store::open(dir, store).unwrap());
        let node = Node::start(store, options).await.unwrap();
        let socket = dir.join("control");
        // One that an earlier node had.
        let _ = std::fs::remove_file(&socket);
        node.control_by(UnixListener::bind(socket).unwrap());
        let (stop, stopped) = oneshot::channel();
        let running = node.clone();
        let ended = tokio::spawn(async move {
            running
                .run(async {
                    let _ = stopped.await;
                })
                .await
        });
        Self { node, stop, ended }
    }

    fn peer(&self) -> PeerAddress {
        self.node.address().into()
    }

    fn store(&self) -> &Store {
        self.node.store()
    }

    /// Stops it and closes its store.
    async fn end(self) -> Ended {
        self.stop.send(()).unwrap();
        let ended = self.ended.await.unwrap().unwrap();
        let mut store = Arc::clone(self.node.store());
        drop(self.node);
        // Sessions and links have ended before the node did; connections that are cut may have it
        // for a moment.
        let end = Instant::now() + Duration::from_secs(2);
        loop {
            match Arc::try_unwrap(store) {
                Ok(store) => break store.close().unwrap(),
                Err(shared) => store = shared,
            }
            assert!(Instant::now() < end, "something keeps the store");
            sleep(Duration::from_millis(10)).await;
        }
        ended
    }
}

async fn until(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(5)).await;
    }
    begin.elapsed()
}

fn in_step(nodes: &[&Running]) -> bool {
    let mut roots = nodes.iter().map(|node| node.store().root().unwrap());
    let first = roots.next().unwrap();
    roots.all(|root| root == first)
}

fn alive(node: &Running) -> usize {
    node.node.status().peers.iter().filter(|peer| peer.state == PeerState::Alive).count()
}

fn dirs<const N: usize>() -> [TempDir; N] {
    std::array::from_fn(|_| tempfile::tempdir().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn three_with_one_flag_each_find_each_other_and_agree() {
    let dirs = dirs::<3>();
    let first = Running::start(dirs[0].path(), options()).await;
    let join = || options().join(vec![first.peer()]);
    let second = Running::start(dirs[1].path(), join()).await;
    let third = Running::start(dirs[2].path(), join()).await;
    until("all know all", || [&first, &second, &third].iter().all(|node| alive(node) == 2)).await;
    for (node, body) in [(&first, "one"), (&second, "two"), (&third, "three")] {
        node.store().append(body.as_bytes()).unwrap();
    }
    let took =
        until("one root", || in_step(&[&first, &second, &third]) && first.store().len() == 3).await;
    println!("in step after {took:?}");
    // One goes, and what it misses comes to it when it is back.
    assert_eq!(third.end().await.cut, 0);
    until("it is missed", || alive(&first) == 1).await;
    first.store().append(b"four").unwrap();
    let third = Running::start(dirs[2].path(), join()).await;
    until("one root again", || in_step(&[&first, &second, &third])).await;
    assert_eq!(third.store().len(), 4);
    let status = || first.node.status();
    assert!(status().not_ready.is_empty(), "{:?}", status().not_ready);
    let shown = || status().peers.iter().all(|peer| peer.in_step == Some(true));
    until("it shows", shown).await;
    for node in [first, second, third] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn named_peers_without_gossip_come_into_step() {
    let dirs = dirs::<2>();
    let served = Running::start(dirs[0].path(), options().gossip(false)).await;
    let named = options().gossip(false).peers(vec![served.peer()]);
    let node = Running::start(dirs[1].path(), named).await;
    served.store().append(b"here").unwrap();
    node.store().append(b"there").unwrap();
    until("one root", || in_step(&[&served, &node])).await;
    served.store().append(b"later").unwrap();
    until("one root again", || in_step(&[&served, &node])).await;
    assert_eq!(node.node.status().peers[0].state, PeerState::Named);
    for node in [served, node] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_keeps_others_out_of_gossip_and_of_sessions() {
    let dirs = dirs::<3>();
    let secret =
        |text: &str| StoreOptions::default().secret(Some(Secret::new(text.as_bytes()).unwrap()));
    let first = Running::with(dirs[0].path(), secret("the cluster's secret"), options()).await;
    let join = || options().join(vec![first.peer()]);
    let second = Running::with(dirs[1].path(), secret("the cluster's secret"), join()).await;
    let named = join().peers(vec![first.peer()]);
    let stranger = Running::with(dirs[2].path(), secret("another secret, too"), named).await;
    first.store().append(b"between us").unwrap();
    until("one root", || in_step(&[&first, &second])).await;
    let failed = || stranger.node.status().peers.iter().any(|peer| peer.failures > 0);
    until("the stranger is refused", failed).await;
    assert_eq!(alive(&first), 1);
    assert_eq!(alive(&stranger), 0);
    assert_eq!(stranger.store().len(), 0);
    for node in [first, second, stranger] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_pauses_resumes_and_triggers() {
    let dirs = dirs::<2>();
    let first = Running::start(dirs[0].path(), options()).await;
    let second = Running::start(dirs[1].path(), options().join(vec![first.peer()])).await;
    until("both are there", || alive(&first) == 1 && alive(&second) == 1).await;
    let [one, two] = [0, 1].map(|n: usize| {
        let socket = PeerAddress::unix(dirs[n].path().join("control").to_str().unwrap());
        async move { Client::connect(&socket, ClientOptions::default()).await.unwrap() }
    });
    let (one, two) = (one.await, two.await);
    for client in [&one, &two] {
        client.control(Control::Pause).await.unwrap();
    }
    first.store().append(b"held back").unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(second.store().len(), 0);
    assert_eq!(second.node.status().sync.paused, Some(PauseReason::Asked));
    let unknown = Control::SyncNow(Some("nobody:1".to_owned()));
    assert!(two.control(unknown).await.is_err());
    for client in [&one, &two] {
        client.control(Control::Resume).await.unwrap();
    }
    two.control(Control::SyncNow(None)).await.unwrap();
    until("one root", || in_step(&[&first, &second])).await;
    assert_eq!(one.status().await.unwrap().head.unwrap().count, 1);
    assert_eq!(one.cells(8).await.unwrap(), two.cells(8).await.unwrap());
    assert_eq!(one.cells(12).await.unwrap().len(), 4096);
    for node in [first, second] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_needs_a_token_of_an_administrator_also_on_this_machine() {
    const ADMIN: &str = "a-token-of-administrators";
    const CLIENT: &str = "a-token-of-clients";
    let tokens = |text: &str| Some(Tokens::parse(text.as_bytes()).unwrap());
    let open = ServerOptions::default();
    let admin = ServerOptions::default().admin_tokens(tokens(ADMIN));
    let closed = admin.clone().tokens(tokens(CLIENT));
    let forbidden = Some(Reason::Forbidden);
    for (server, token, control, head) in [
        (&open, None, forbidden, None),
        (&open, Some(ADMIN), forbidden, None),
        (&admin, None, forbidden, None),
        (&admin, Some(CLIENT), forbidden, None),
        (&admin, Some(ADMIN), None, None),
        (&closed, None, forbidden, Some(Reason::Token)),
        (&closed, Some(CLIENT), forbidden, None),
        (&closed, Some(ADMIN), None, None),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let node = Running::start(dir.path(), options().server(server.clone())).await;
        let token = token.map(|token| Token::parse(token.as_bytes()).unwrap());
        let with_token = ClientOptions::default().token(token);
        let client = Client::connect(&node.peer(), with_token).await.unwrap();
        let reason = |error: CallError| error.reason();
        assert_eq!(client.control(Control::Pause).await.err().and_then(reason), control);
        assert_eq!(node.node.status().sync.paused.is_some(), control.is_none());
        assert_eq!(client.head().await.err().and_then(reason), head);
        assert_eq!(client.status().await.err().and_then(reason), head);
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bandwidth_is_kept_to() {
    let dirs = dirs::<2>();
    let served = Running::start(dirs[0].path(), options().gossip(false)).await;
    // What zstd can't make smaller.
    let body = |n: u32| {
        let mut bytes = vec![0; 4096];
        blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    };
    served.store().append_batch((0..1000).map(body)).unwrap();
    let rate = 1 << 20;
    let sync = options().sync.bytes_per_second(Some(rate));
    let slow = options().gossip(false).peers(vec![served.peer()]).sync(sync);
    let begin = Instant::now();
    let node = Running::start(dirs[1].path(), slow).await;
    until("one root", || in_step(&[&served, &node])).await;
    let took = begin.elapsed().as_secs_f64();
    // What a session has asked for comes in at once; the rest waits for its turn.
    assert!(took >= 2.0, "4 MB at 1 MiB/s took {took} s");
    for node in [served, node] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_a_node_takes_nothing_and_says_so_until_there_is_some() {
    let dirs = dirs::<2>();
    let first = Running::start(dirs[0].path(), options()).await;
    first.store().append(b"something").unwrap();
    let full = || options().join(vec![first.peer()]).disk_reserve(Some(u64::MAX));
    let second = Running::start(dirs[1].path(), full()).await;
    let status = || second.node.status();
    until("it says that it is full", || status().sync.paused == Some(PauseReason::Disk)).await;
    assert_eq!(status().not_ready[0].code, ProblemCode::Disk);
    until("the first one has tried", || {
        first.node.status().peers.iter().any(|peer| peer.failures > 0)
    })
    .await;
    assert_eq!(second.store().len(), 0);
    let client = Client::connect(&second.peer(), ClientOptions::default()).await.unwrap();
    assert_eq!(client.head().await.unwrap().count, 0, "reads go on");
    second.node.reload(full().disk_reserve(Some(0)));
    until("it is ready", || status().not_ready.is_empty()).await;
    until("one root", || in_step(&[&first, &second])).await;
    for node in [first, second] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_empty_disk_or_an_old_backup_a_node_catches_up() {
    let dirs = dirs::<3>();
    let first = Running::start(dirs[0].path(), options()).await;
    let join = || options().join(vec![first.peer()]);
    let second = Running::start(dirs[1].path(), join()).await;
    for n in 0..100 {
        first.store().append(format!("early {n}").as_bytes()).unwrap();
    }
    until("one root", || in_step(&[&first, &second])).await;
    let backup = dirs[2].path().join("backup");
    let taken = second.store().backup(&backup, &mut |_| {}).unwrap();
    for n in 0..100 {
        first.store().append(format!("late {n}").as_bytes()).unwrap();
    }
    let listen = second.node.address();
    second.end().await;

    let empty = dirs[2].path().join("empty");
    let second = Running::start(&empty, join().listen(listen)).await;
    until("one root with an empty disk", || in_step(&[&first, &second])).await;
    second.end().await;

    let restored = dirs[2].path().join("restored");
    let options = StoreOptions::default();
    stemedb::restore(&backup, &restored, &taken.head.set_root, options, &mut |_| {}).unwrap();
    let second = Running::start(&restored, join().listen(listen)).await;
    assert_eq!(second.store().len(), 100);
    until("one root with an old backup", || in_step(&[&first, &second])).await;
    assert!(second.node.status().epoch > 1, "a restored store is in an epoch of its own");
    let status = first.node.status();
    assert!(status.not_ready.is_empty(), "{:?}", status.not_ready);
    assert!(status.peers.iter().all(|peer| peer.remark.is_none()), "{:?}", status.peers);
    for node in [first, second] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_healed_from_a_peer_by_itself() {
    let dirs = dirs::<2>();
    let small = || StoreOptions::default().segment_len(64 << 10);
    let bodies: Vec<_> = (0..2000).map(|n| format!("assertion {n} {}", "x".repeat(60))).collect();
    let store = Store::open(dirs[0].path(), small()).unwrap();
    store.append_batch(&bodies).unwrap();
    // So that opening has no need to read what is damaged below.
    store.checkpoint().unwrap();
    store.close().unwrap();
    // One byte of a body that nobody reads, in a segment that is sealed.
    let mut segments: Vec<_> = std::fs::read_dir(dirs[0].path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    segments.sort();
    let mut bytes = std::fs::read(&segments[0]).unwrap();
    let place = bytes.windows(13).position(|part| part == b"assertion 77 ").unwrap();
    bytes[place] ^= 1;
    std::fs::write(&segments[0], bytes).unwrap();

    let whole = Store::open(dirs[1].path(), StoreOptions::default()).unwrap();
    whole.append_batch(&bodies).unwrap();
    whole.close().unwrap();
    let first = Running::start(dirs[1].path(), options()).await;
    let join = || options().join(vec![first.peer()]);
    let late = join().scrub(None);
    let second = Running::with(dirs[0].path(), small(), late).await;
    until("both are there", || alive(&first) == 1 && alive(&second) == 1).await;
    second.node.reload(join());
    let scrub = || second.node.status().scrub.unwrap();
    until("it is found and healed", || scrub().healed == 1).await;
    assert_eq!(scrub().damaged, 1);
    let id = stemedb::AssertionId(blake3::hash(bodies[77].as_bytes()).into());
    assert_eq!(second.store().get(&id).unwrap().unwrap(), bodies[77].as_bytes());
    assert!(second.node.status().not_ready.is_empty());
    for node in [first, second] {
        node.end().await;
    }
}

/// What was appended is taken into the trees by threads that nobody waits for: not by the workers
/// of the runtime, here the one thread of the test, which serve clients and gossip.
#[test]
fn trees_are_not_made_by_the_workers_of_the_runtime() {
    let disk = FaultyDisk::new(1);
    let worker = thread::current().id();
    let writes = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&writes);
    disk.observe(move |moment| {
        if moment.name == "history.tiles" && moment.operation == Operation::Write {
            seen.lock().unwrap().push(thread::current().id());
        }
    });
    let opened = StoreOptions::default().map_files(false);
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, opened);
    let store = Arc::new(store.unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let node = Node::start(Arc::clone(&store), options()).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = node.clone();
        let ended = tokio::spawn(async move {
            running
                .run(async {
                    let _ = stopped.await;
                })
                .await
        });
        for round in 0..10_u64 {
            let store = Arc::clone(&store);
            let bodies = (0..300).map(move |n| (round * 300 + n).to_le_bytes());
            tokio::task::spawn_blocking(move || store.append_batch(bodies).unwrap()).await.unwrap();
            sleep(Duration::from_millis(80)).await;
        }
        stop.send(()).unwrap();
        ended.await.unwrap().unwrap();
    });
    disk.stop_observing();
    let writes = writes.lock().unwrap();
    assert!(writes.len() >= 5, "{} writes", writes.len());
    let by_worker = writes.iter().filter(|thread| **thread == worker).count();
    assert_eq!(by_worker, 0, "of {} writes", writes.len());
}

/// How an owner alone may read a file, of those that a store has.
#[cfg(unix)]
fn rights(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn members_find_each_other_without_the_one_that_they_joined_by() {
    let dirs = dirs::<3>();
    let first = Running::start(dirs[0].path(), options()).await;
    let gone = first.peer();
    let join = || options().join(vec![gone.clone()]);
    let second = Running::start(dirs[1].path(), join()).await;
    let third = Running::start(dirs[2].path(), join()).await;
    until("all know all", || [&first, &second, &third].iter().all(|node| alive(node) == 2)).await;
    let written = |dir: &TempDir| {
        let file = std::fs::read(dir.path().join("MEMBERS"));
        file.is_ok_and(|bytes| bytes.len() > 16 + 2 * 66)
    };
    until("it is written down", || written(&dirs[1]) && written(&dirs[2])).await;
    first.end().await;
    let places = [second.node.address(), third.node.address()];
    second.end().await;
    third.end().await;
    let second = Running::start(dirs[1].path(), join().listen(places[0])).await;
    let third = Running::start(dirs[2].path(), join().listen(places[1])).await;
    let took = until("they know each other", || alive(&second) == 1 && alive(&third) == 1).await;
    println!("known again after {took:?}");
    for node in [second, third] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_one_node_id_and_is_in_no_backup() {
    let dirs = dirs::<2>();
    let node = Running::start(dirs[0].path(), options()).await;
    node.store().append(b"something").unwrap();
    let key = std::fs::read(dirs[0].path().join("NODEKEY")).unwrap();
    #[cfg(unix)]
    assert_eq!(rights(&dirs[0].path().join("NODEKEY")), 0o600);
    let backup = dirs[1].path().join("backup");
    let taken = node.store().backup(&backup, &mut |_| {}).unwrap();
    assert!(!backup.join("NODEKEY").exists());
    node.end().await;
    // It is the same after a restart.
    Running::start(dirs[0].path(), options()).await.end().await;
    assert_eq!(std::fs::read(dirs[0].path().join("NODEKEY")).unwrap(), key);
    // A copy gets an id of its own, and a key of its own with it.
    let copy = dirs[1].path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(dirs[0].path()).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_type().unwrap().is_file() {
            // A socket that was left.
            continue;
        }
        let path = entry.path();
        std::fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
    }
    Running::start(&copy, options()).await.end().await;
    let other = std::fs::read(copy.join("NODEKEY")).unwrap();
    assert_ne!((&key[16..32], &key[32..]), (&other[16..32], &other[32..]));
    assert!(key[16..32] != other[16..32] && key[32..] != other[32..]);
    #[cfg(unix)]
    assert_eq!(rights(&copy.join("NODEKEY")), 0o600);
    let restored = dirs[1].path().join("restored");
    let store = StoreOptions::default();
    stemedb::restore(&backup, &restored, &taken.head.set_root, store, &mut |_| {}).unwrap();
    assert!(!restored.join("NODEKEY").exists());
    Running::start(&restored, options()).await.end().await;
    assert_ne!(std::fs::read(restored.join("NODEKEY")).unwrap()[32..], key[32..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_membership_has_to_be_meant() {
    let dirs = dirs::<1>();
    let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let mut open = options().listen(any).advertise(Some("a:1".parse().unwrap()));
    open.server.allow_plaintext = true;
    let store = Arc::new(Store::open(dirs[0].path(), StoreOptions::default()).unwrap());
    let refused = Node::start(Arc::clone(&store), open).await;
    assert!(matches!(refused, Err(NodeError::OpenMembership { address }) if address == any));
}
/// Bodies that zstd can't make smaller.
fn noise(n: u32) -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    blake3::Hasher::new().update(&n.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Two nodes, of which the second is reading the log of the first, slowly.
async fn reading(dirs: &[TempDir; 2]) -> (Running, Running, Options) {
    let served = Running::start(dirs[0].path(), options().gossip(false)).await;
    served.store().append_batch((0..2000).map(noise)).unwrap();
    let sync = options().sync.bytes_per_second(Some(1 << 20));
    let slow = options().gossip(false).peers(vec![served.peer()]).sync(sync);
    let node = Running::start(dirs[1].path(), slow.clone()).await;
    until("some have come", || !node.store().is_empty()).await;
    (served, node, slow)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_under_way_ends_before_its_node_does() {
    let dirs = dirs::<2>();
    let (served, node, _) = reading(&dirs).await;
    // Its peer was told that the session is over: nothing of it has to be cut there.
    assert_eq!(node.end().await.cut, 0);
    assert_eq!(served.end().await.cut, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_runs_takes_nothing_once_the_disk_is_nearly_full() {
    let dirs = dirs::<2>();
    let (served, node, slow) = reading(&dirs).await;
    node.node.reload(slow.clone().disk_reserve(Some(u64::MAX)));
    until("it says that it is full", || node.node.status().sync.paused == Some(PauseReason::Disk))
        .await;
    // What was being appended then is durable by now.
    sleep(Duration::from_millis(500)).await;
    let held = node.store().len();
    assert!(held < 2000);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(node.store().len(), held);
    let unlimited = slow.sync.clone().bytes_per_second(None);
    node.node.reload(slow.disk_reserve(Some(0)).sync(unlimited));
    until("one root", || in_step(&[&served, &node])).await;
    for node in [served, node] {
        node.end().await;
    }
}
