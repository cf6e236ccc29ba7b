//! Archives on a server that speaks S3: `moto_server` (`pip install 'moto[server]'`).
//!
//! It is looked for in `STEMEDB_MOTO` and on the `PATH`; `.ci/run` installs it and runs these
//! tests.

use std::{
    env,
    ffi::OsString,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use object_store::{
    ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, aws::AmazonS3Builder, path::Path,
};
use stemedb::{
    Head, Options, Store, Timestamp,
    archive::{Archive, ArchiveError, Fault, PushOptions, RestoreOptions, Selection},
};

struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    /// Starts a server with a bucket in it.
    fn start() -> Self {
        Self::start_with(None)
    }

    /// As [`start`](Self::start); after so many requests it looks at who asks.
    fn start_with(free_requests: Option<u32>) -> Self {
        let program = env::var_os("STEMEDB_MOTO").unwrap_or_else(|| "moto_server".into());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let started = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .envs(free_requests.map(|free| ("INITIAL_NO_AUTH_ACTION_COUNT", free.to_string())))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = started.unwrap_or_else(|error| {
            panic!("cannot start {}, which STEMEDB_MOTO names: {error}", program.display())
        });
        let mut moto = Self { process, port };
        for _ in 0..600 {
            if moto.process.try_wait().unwrap().is_some() {
                break;
            }
            if let Ok(answer) = moto.request("PUT /archive HTTP/1.1") {
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                return moto;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("{} does not answer", program.display());
    }

    fn request(&self, line: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        let head = "Host: localhost\r\nConnection: close\r\nContent-Length: 0\r\n";
        write!(stream, "{line}\r\n{head}\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    fn variables(&self) -> Vec<(OsString, OsString)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let variables = [
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "key"),
            ("AWS_ENDPOINT_URL", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
        ];
        variables.map(|(name, value)| (name.into(), value.into())).into()
    }

    fn archive(&self, url: &str) -> Archive {
        Archive::open_in(url, true, self.variables()).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn store(dir: &std::path::Path) -> Arc<Store> {
    let options = Options::default().segment_len(64 << 10);
    Arc::new(Store::open(dir, options).unwrap())
}

fn append(store: &Store, range: std::ops::Range<u32>) {
    let bodies = range.map(|n| format!("assertion {n} {}", "x".repeat((n % 300) as usize)));
    for body in bodies.collect::<Vec<_>>().chunks(100) {
        store.append_batch(body).unwrap();
    }
}

fn sealing() -> PushOptions {
    PushOptions::default().seal(true)
}

#[tokio::test]
#[ignore = "needs moto_server: .ci/run"]
async fn a_log_goes_to_s3_and_comes_back() {
    let moto = Moto::start();
    let dir = tempfile::tempdir().unwrap();
    let archive = moto.archive("s3://archive/some/prefix");
    let one = store(&dir.path().join("one"));
    append(&one, 0..2000);
    let first = archive.push(&one, PushOptions::default(), |_| {}).await.unwrap();
    assert!(first.segments > 2 && first.manifest == 1, "{first:?}");
    append(&one, 2000..3000);
    let all = archive.push(&one, sealing(), |_| {}).await.unwrap();
    let head = Head { last_time: Timestamp::MIN, ..one.head().unwrap() };
    assert_eq!((all.head, all.manifest), (head, 2));
    let again = archive.push(&one, sealing().again(true), |_| {}).await.unwrap();
    assert_eq!((again.segments, again.bytes, again.manifest), (0, 0, 2));
    let listed = archive.list().await.unwrap();
    assert_eq!((listed.len(), listed[0].head), (1, head));
    let verified = archive.verify(&Selection::default(), true, None, |_| {}).await.unwrap();
    assert_eq!(verified.faults, []);
    let options = RestoreOptions::default().root(Some(one.root().unwrap()));
    let restored = archive.restore(&dir.path().join("two"), options, |_| {}).await.unwrap();
    assert_eq!((restored.head.set_root, restored.epoch), (one.root().unwrap(), 2));
    let two = store(&dir.path().join("two"));
    assert_eq!(two.head().unwrap(), one.head().unwrap());

    // One of its objects is replaced behind its back.
    let raw = raw(&moto);
    let objects = Path::parse("some/prefix/objects").unwrap();
    let folders = raw.list_with_delimiter(Some(&objects)).await.unwrap().common_prefixes;
    let mut found = Vec::new();
    for folder in &folders {
        found.extend(raw.list_with_delimiter(Some(folder)).await.unwrap().objects);
    }
    // The largest is the restart checkpoint, which a restore does not need; this is a segment.
    let victim = found.iter().min_by_key(|object| object.size).unwrap();
    let other = vec![b'x'; usize::try_from(victim.size).unwrap()];
    raw.put(&victim.location, other.into()).await.unwrap();
    let verified = archive.verify(&Selection::default(), false, None, |_| {}).await.unwrap();
    let expected = Fault::Content { path: victim.location.to_string() };
    assert_eq!(verified.faults, [expected]);
    let again = archive.restore(&dir.path().join("3"), RestoreOptions::default(), |_| {}).await;
    assert!(again.unwrap_err().is_damage());
    assert!(!Store::exists(dir.path().join("3")).unwrap());
}

/// What all of it stands on, of the server and the library together.
#[tokio::test]
#[ignore = "needs moto_server: .ci/run"]
async fn conditional_puts_and_ranges_work() {
    let moto = Moto::start();
    let raw = raw(&moto);
    let path = Path::parse("prefix/object").unwrap();
    let create = || PutOptions::from(PutMode::Create);
    raw.put_opts(&path, "the first".into(), create()).await.unwrap();
    let second = raw.put_opts(&path, "the second".into(), create()).await.unwrap_err();
    assert!(matches!(second, object_store::Error::AlreadyExists { .. }), "{second:?}");
    assert!(second.to_string().contains("412"), "{second}");
    assert_eq!(&raw.get(&path).await.unwrap().bytes().await.unwrap()[..], b"the first");
    assert_eq!(&raw.get_range(&path, 4..9).await.unwrap()[..], b"first");
}

#[tokio::test]
#[ignore = "needs moto_server: .ci/run"]
async fn two_nodes_at_once_and_one_twice() {
    let moto = Moto::start();
    let dir = tempfile::tempdir().unwrap();
    let archive = moto.archive("s3://archive");
    let stores = ["one", "two"].map(|name| store(&dir.path().join(name)));
    for store in &stores {
        append(store, 0..1000);
    }
    let mut running = Vec::new();
    for store in stores.iter().chain(&stores) {
        let (archive, store) = (archive.clone(), Arc::clone(store));
        running.push(tokio::spawn(async move {
            archive.push(&store, PushOptions::default(), |_| {}).await.unwrap().manifest
        }));
    }
    for running in running {
        assert_eq!(running.await.unwrap(), 1, "nobody had more to say");
    }
    for listed in archive.list().await.unwrap() {
        let selection = Selection { log: Some(listed.log.to_string()) };
        let verified = archive.verify(&selection, true, None, |_| {}).await.unwrap();
        assert_eq!(verified.faults, []);
    }
}

#[tokio::test]
#[ignore = "needs moto_server: .ci/run"]
async fn what_is_wrong_is_reported_with_what_to_do() {
    let moto = Moto::start();
    let dir = tempfile::tempdir().unwrap();
    let one = store(&dir.path().join("one"));
    append(&one, 0..1000);
    let told = |error: ArchiveError| format!("{error}: {error:?}");
    let nowhere = moto.archive("s3://no-such-bucket/x");
    let error = nowhere.push(&one, sealing(), |_| {}).await.map(drop).map_err(told).unwrap_err();
    assert!(error.contains("there is no such bucket"), "{error}");
    let error = nowhere.list().await.map(drop).map_err(told).unwrap_err();
    assert!(error.contains("there is no such bucket"), "{error}");

    let strict = Moto::start_with(Some(1));
    let denied = strict.archive("s3://archive/x");
    let error = denied.push(&one, sealing(), |_| {}).await.map(drop).map_err(told).unwrap_err();
    assert!(error.contains("the key id is not known there"), "{error}");

    // Nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut variables = moto.variables();
    for (name, value) in &mut variables {
        if name == "AWS_ENDPOINT_URL" {
            *value = format!("http://127.0.0.1:{port}").into();
        }
    }
    let down = Archive::open_in("s3://archive/x", false, variables).unwrap();
    let error = down.list().await.map(drop).map_err(told).unwrap_err();
    assert!(error.contains("the server can't be reached"), "{error}");
}

fn raw(moto: &Moto) -> object_store::aws::AmazonS3 {
    // It says which provider of cryptography there is.
    moto.archive("s3://archive");
    AmazonS3Builder::new()
        .with_bucket_name("archive")
        .with_endpoint(format!("http://127.0.0.1:{}", moto.port))
        .with_allow_http(true)
        .with_access_key_id("id")
        .with_secret_access_key("key")
        .build()
        .unwrap()
}
