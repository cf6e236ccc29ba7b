//! Archives in a directory: what is sent, what comes back, and what is noticed on the way.

use std::{fs, future::Future as _, path::Path, sync::Arc};

use place::{Place, append, archiver, body, faults, options, push, roots};
use stemedb::{
    AssertionId, Head, LogIndex, LogSize, Replicate as _, Root, Secret, Store, SyncOptions,
    archive::{Archive, ArchiveError, Fault, PushOptions, RestoreOptions, Selection},
    rpc::{Client, ClientOptions, Server, ServerOptions},
    sync::Limits,
};

mod dropped;
mod place;
mod s3;

fn sealing() -> PushOptions {
    PushOptions::default().seal(true)
}

#[tokio::test]
async fn what_is_new_is_sent_and_comes_back_elsewhere() {
    let place = Place::new();
    let (archive, store) = (place.archive(), place.store("one"));
    assert_eq!(push(&archive, &store).await.manifest, 0, "nothing is sealed");
    assert!(archive.list().await.unwrap().is_empty());

    append(&store, 0..500);
    let first = push(&archive, &store).await;
    assert!(first.segments > 1 && first.manifest == 1, "{first:?}");
    assert!(first.head.log_size < LogSize(500));
    assert_eq!(first.head.log_root, store.history_root_at(first.head.log_size).unwrap());
    let again = push(&archive, &store).await;
    assert_eq!((again.segments, again.bytes, again.manifest), (0, 0, 1));
    assert_eq!(again.head, first.head);

    append(&store, 500..1000);
    let second = push(&archive, &store).await;
    assert!(second.manifest == 2 && second.head.log_size > first.head.log_size);
    let all = archive.push(&store, sealing(), |_| {}).await.unwrap();
    assert_eq!(all.head, roots(store.head().unwrap()));
    assert_eq!(archive.push(&store, sealing(), |_| {}).await.unwrap().bytes, 0);

    let listed = archive.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].head, listed[0].manifest), (all.head, all.manifest));
    assert_eq!(listed[0].checkpoint_log_size, Some(LogSize(1000)));
    let verified = archive.verify(&Selection::default(), true, None, |_| {}).await.unwrap();
    assert_eq!(verified.faults, []);
    assert_eq!(verified.bytes, listed[0].bytes);

    for trust_checkpoint in [false, true] {
        let dir = place.join(&format!("two-{trust_checkpoint}"));
        let restoring = RestoreOptions::default()
            .root(Some(store.root().unwrap()))
            .trust_checkpoint(trust_checkpoint);
        let restored = archive.restore(&dir, restoring, |_| {}).await.unwrap();
        assert_eq!(roots(restored.head), all.head);
        assert_eq!(restored.epoch, 2);
        let two = Store::open(&dir, options()).unwrap();
        assert!(two.open_report().remarks.is_empty(), "{}", two.open_report());
        assert_eq!(two.open_report().replayed, 0);
        assert_eq!(two.head().unwrap(), store.head().unwrap());
        assert_ne!(stats(&two).1, stats(&store).1, "the epoch is another");
        assert_eq!(stats(&two).0, stats(&store).0, "the store is the same");
        for n in 0..1000 {
            let id = two.append(&body(n)).unwrap();
            assert!(id.duplicate);
            assert_eq!(two.get(&id.id).unwrap().unwrap(), body(n));
        }
        let report = two.check(stemedb::Depth::Deep, &mut |_| {}).unwrap();
        assert!(report.faults.is_empty(), "{:?}", report.faults);
        append(&two, 1000..1100);
    }
    // A restored node archives under a name of its own, next to the other, and sends little.
    let two = Arc::new(Store::open(place.join("two-false"), options()).unwrap());
    assert_eq!(two.len(), 1100);
    let pushed = archive.push(&two, sealing(), |_| {}).await.unwrap();
    assert_eq!((pushed.segments, pushed.head), (1, roots(two.head().unwrap())));
    assert_eq!(archive.list().await.unwrap().len(), 2);
    let several = archive.verify(&Selection::default(), false, None, |_| {}).await;
    assert!(matches!(several, Err(ArchiveError::SeveralLogs { .. })));
    for count in [1000, 1100] {
        let selection = Selection { log: Some(pushed_log(&archive, count).await) };
        let verified = archive.verify(&selection, true, None, |_| {}).await.unwrap();
        assert_eq!(verified.faults, []);
        assert_eq!(verified.listed.head.count, count);
    }
}

async fn pushed_log(archive: &Archive, count: u64) -> String {
    let logs = archive.list().await.unwrap();
    logs.iter().find(|log| log.head.count == count).unwrap().log.to_string()
}

fn stats(store: &Store) -> ([u8; 16], u64) {
    let stats = store.stats().unwrap();
    (stats.store_id, stats.epoch)
}

#[tokio::test]
async fn a_restored_node_syncs_the_rest() {
    let place = Place::new();
    let (archive, store) = (place.archive(), place.store("one"));
    append(&store, 0..600);
    let pushed = push(&archive, &store).await;
    append(&store, 600..700);
    let dir = place.join("two");
    archive.restore(&dir, RestoreOptions::default(), |_| {}).await.unwrap();
    let two = Arc::new(Store::open(&dir, options()).unwrap());
    assert_eq!(two.log_size(), pushed.head.log_size);

    let server = Server::bind(([127, 0, 0, 1], 0).into(), ServerOptions::default()).await.unwrap();
    let peer = server.address().to_string().parse().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            let stopped = async { drop(stopped.await) };
            store.serve(server, Limits::default(), stopped).await.unwrap();
        }
    });
    let client = Client::connect(&peer, ClientOptions::default()).await.unwrap();
    let synced =
        two.sync(&client, SyncOptions::default(), std::future::pending(), |_| {}).await.unwrap();
    assert!(synced.error.is_none() && synced.report.checked, "{:?}", synced.report);
    assert_eq!(synced.report.fetched, 700 - pushed.head.count);
    assert_eq!(two.root().unwrap(), store.root().unwrap());
    drop(client);
    drop(stop);
    serving.await.unwrap();
}

type Damage = fn(&Path, &[u8]);

#[tokio::test]
async fn damage_is_found_and_never_restored() {
    let place = Place::new();
    let (archive, store) = (place.archive(), place.store("one"));
    append(&store, 0..600);
    let pushed = push(&archive, &store).await;
    let objects = place.objects();
    assert_eq!(objects.len() as u64, pushed.segments);
    let victim = objects.last().unwrap();
    let whole = fs::read(victim).unwrap();

    let damages: [(Damage, fn(&Fault) -> bool); 3] = [
        (
            |path, whole| {
                let mut bytes = whole.to_vec();
                bytes[whole.len() / 2] ^= 1;
                fs::write(path, bytes).unwrap();
            },
            |fault| matches!(fault, Fault::Content { .. }),
        ),
        (
            |path, whole| fs::write(path, &whole[1..]).unwrap(),
            |fault| matches!(fault, Fault::Len { .. }),
        ),
        (|path, _| fs::remove_file(path).unwrap(), |fault| matches!(fault, Fault::Missing { .. })),
    ];
    for (number, (damage, is_it)) in damages.into_iter().enumerate() {
        damage(victim, &whole);
        let found = faults(&archive).await;
        assert!(found.len() == 1 && found.iter().all(is_it), "{number}: {found:?}");
        let dir = place.join("two");
        let restored = archive.restore(&dir, RestoreOptions::default(), |_| {}).await;
        assert!(
            matches!(&restored, Err(ArchiveError::Damaged(fault)) if is_it(fault)),
            "{restored:?}"
        );
        assert!(!Store::exists(&dir).unwrap());
        let again = PushOptions::default().again(true);
        match archive.push(&store, again, |_| {}).await {
            // What has the right length is taken for whole: it is to be removed first.
            Ok(sent) => assert_eq!(sent.segments, u64::from(number == 2)),
            Err(error) => assert!(number == 1 && error.is_damage(), "{number}: {error}"),
        }
        fs::write(victim, &whole).unwrap();
    }
    // What the interrupted ones left is gone on with.
    let dir = place.join("two");
    let restored = archive.restore(&dir, RestoreOptions::default(), |_| {}).await.unwrap();
    assert!(restored.bytes < listed_bytes(&archive).await, "{restored:?}");
    assert_eq!(roots(restored.head), pushed.head);
    let again = archive.restore(&dir, RestoreOptions::default(), |_| {}).await;
    assert!(matches!(again, Err(ArchiveError::NotEmpty { .. })), "{again:?}");
}

async fn listed_bytes(archive: &Archive) -> u64 {
    archive.list().await.unwrap()[0].bytes
}

/// Damage that no hash of an object shows: somebody made the archive say something else.
#[tokio::test]
async fn what_was_made_up_does_not_pass() {
    let place = Place::new();
    let (archive, store) = (place.archive(), place.store("one"));
    append(&store, 0..600);
    push(&archive, &store).await;
    let log =
        place.join("archive/logs").join(pushed_log(&archive, store_count(&archive).await).await);
    let path = log.join("manifest-00000000000000000001.json");
    let manifest = fs::read_to_string(&path).unwrap();
    let field = |name: &str| {
        let (_, rest) = manifest.split_once(&format!("\"{name}\":\"")).unwrap();
        rest.split_once('"').unwrap().0.to_owned()
    };
    for (name, expected) in [("set_root", Fault::SetRoot), ("log_root", Fault::LogRoot)] {
        let other = manifest.replace(&field(name), &"5".repeat(64));
        fs::write(&path, other).unwrap();
        assert_eq!(faults(&archive).await, std::slice::from_ref(&expected));
        let dir = place.join("two");
        let restored = archive.restore(&dir, RestoreOptions::default(), |_| {}).await;
        let found = restored.unwrap_err();
        assert!(matches!(&found, ArchiveError::Damaged(fault) if *fault == expected), "{found}");
        assert!(!Store::exists(&dir).unwrap());
    }
    fs::write(&path, manifest.replace("\"epoch\":1", "\"epoch\":2")).unwrap();
    assert!(archive.list().await.unwrap_err().is_damage());
    fs::write(&path, &manifest[..manifest.len() / 2]).unwrap();
    assert!(archive.list().await.unwrap_err().is_damage());
    assert!(archive.push(&store, sealing(), |_| {}).await.unwrap_err().is_damage());
    fs::write(&path, &manifest).unwrap();

    let dir = place.join("two");
    let other = RestoreOptions::default().root(Some(Root([7; 32])));
    let restored = archive.restore(&dir, other, |_| {}).await;
    assert!(matches!(restored, Err(ArchiveError::OtherRoot { .. })), "{restored:?}");
}

async fn store_count(archive: &Archive) -> u64 {
    archive.list().await.unwrap()[0].head.count
}

#[tokio::test]
async fn of_two_writers_none_undoes_what_the_other_did() {
    let place = Place::new();
    let (archive, store) = (place.archive(), place.store("one"));
    append(&store, 0..600);
    let mut running = Vec::new();
    for _ in 0..6 {
        let (archive, store) = (archive.clone(), Arc::clone(&store));
        running.push(tokio::spawn(async move { push(&archive, &store).await }));
    }
    let mut sent = 0;
    for running in running {
        sent += running.await.unwrap().bytes;
    }
    let listed = archive.list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(sent, listed[0].bytes, "each object was sent by one of them");
    assert_eq!(listed[0].manifest, 1, "the others found that there was nothing left to say");
    assert_eq!(faults(&archive).await, []);
}

#[tokio::test]
async fn a_push_that_is_cut_is_gone_on_with() {
    let place = Place::new();
    let (archive, store) = (place.archive(), place.store("one"));
    append(&store, 0..1000);
    // Dropped at each point at which it waits, one later each time.
    let mut polls = 0;
    let pushed = loop {
        polls += 1;
        let mut left = polls;
        let mut pushing = std::pin::pin!(push(&archive, &store));
        let cut = std::future::poll_fn(|context| {
            if left == 0 {
                return std::task::Poll::Ready(None);
            }
            left -= 1;
            pushing.as_mut().poll(context).map(Some)
        });
        if let Some(pushed) = cut.await {
            break pushed;
        }
        // The last request may have been on its way: then all that it names is there.
        if !archive.list().await.unwrap().is_empty() {
            assert_eq!(faults(&archive).await, []);
        }
    };
    assert!(polls > 5, "{polls}");
    assert_eq!(pushed.head, store_head(&archive).await);
    assert_eq!(faults(&archive).await, []);
}

async fn store_head(archive: &Archive) -> Head {
    archive.list().await.unwrap()[0].head
}

#[tokio::test]
async fn bodies_that_are_lost_are_reported() {
    let place = Place::new();
    let archive = place.archive();
    {
        let store = place.store("one");
        append(&store, 0..600);
        store.checkpoint().unwrap();
    }
    // A body in the first segment is damaged, and the repair makes a hole of it.
    let segment = place.join("one").join("segment-0000-00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    let at = bytes.windows(12).position(|bytes| bytes == b"assertion 7 ").unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, &bytes).unwrap();
    {
        let store = place.store("one");
        let failed = archive.push(&store, sealing(), |_| {}).await.unwrap_err();
        assert!(matches!(failed, ArchiveError::LocalDamage { .. }), "{failed}");
        assert!(archive.list().await.unwrap().is_empty());
    }
    assert_eq!(stemedb::repair(place.join("one"), &options()).unwrap().holes, 1);
    let store = place.store("one");
    let pushed = archive.push(&store, sealing(), |_| {}).await.unwrap();
    assert_eq!((pushed.head.log_size, pushed.head.count), (LogSize(600), 599));
    assert_eq!(pushed.head, roots(store.head().unwrap()));
    assert_eq!(faults(&archive).await, []);
    // It heals here, and what is archived does not have it yet.
    store.append(&body(7)).unwrap();
    append(&store, 600..700);
    let dir = place.join("two");
    let restored = archive.restore(&dir, RestoreOptions::default(), |_| {}).await.unwrap();
    assert_eq!(roots(restored.head), pushed.head);
    let two = Store::open(&dir, options()).unwrap();
    assert!(!two.contains(&AssertionId(*blake3::hash(&body(7)).as_bytes())).unwrap());
    drop(two);
    let healed = archive.push(&store, sealing(), |_| {}).await.unwrap();
    assert_eq!(healed.head, roots(store.head().unwrap()));
    assert_eq!((healed.head.log_size, healed.head.count), (LogSize(700), 700));
    assert_eq!(faults(&archive).await, []);
}

#[tokio::test]
async fn a_store_with_a_secret_needs_it_to_come_back() {
    let place = Place::new();
    let archive = place.archive();
    let secret = Secret::new(b"sixteen bytes or more").unwrap();
    let with = options().secret(Some(secret.clone()));
    let store = Arc::new(Store::open(place.join("one"), with.clone()).unwrap());
    append(&store, 0..600);
    let pushed = archive.push(&store, sealing(), |_| {}).await.unwrap();
    let dir = place.join("two");
    let without = archive.restore(&dir, RestoreOptions::default(), |_| {}).await;
    assert!(matches!(without, Err(ArchiveError::SecretMissing)), "{without:?}");
    let wrong = Secret::new(b"sixteen other bytes, or more").unwrap();
    let wrong = RestoreOptions::default().secret(Some(wrong));
    let wrong = archive.restore(&dir, wrong, |_| {}).await.unwrap_err();
    assert!(matches!(wrong, ArchiveError::Damaged(Fault::Body { index: LogIndex(0) })), "{wrong}");
    let right = RestoreOptions::default().secret(Some(secret));
    let restored = archive.restore(&dir, right, |_| {}).await.unwrap();
    assert_eq!(roots(restored.head), pushed.head);
    assert_eq!(Store::open(&dir, with).unwrap().len(), 600);
    let manifests = place.join("archive/logs").join(pushed_log(&archive, 600).await);
    for manifest in fs::read_dir(manifests).unwrap() {
        let text = fs::read_to_string(manifest.unwrap().path()).unwrap();
        let check = stemedb_merkle::hash::derive("store check", b"sixteen bytes or more");
        assert!(!text.contains(&stemedb_merkle::id::to_hex(check)));
    }
}

#[tokio::test]
async fn the_loop_of_a_node_sends_what_is_sealed() {
    use std::time::Duration;
    let place = Place::new();
    let store = place.store("one");
    append(&store, 0..600);
    let url = format!("file://{}", place.join("archive").display());
    let policy =
        stemedb::node::options::ArchivePolicy::new(url).interval(Duration::from_millis(20));
    let (mut status, stop, running) = archiver(Arc::clone(&store), policy);
    let first = status.recv().await.unwrap();
    assert!(first.log_size > 0 && first.last_sent.is_some() && first.error.is_none(), "{first:?}");
    append(&store, 600..900);
    while status.recv().await.unwrap().log_size < 700 {}
    drop(stop);
    running.await.unwrap();
    let bad = stemedb::node::options::ArchivePolicy::new("s3:/typo".into())
        .interval(Duration::from_millis(1));
    let (mut status, stop, running) = archiver(store, bad);
    let told = status.recv().await.unwrap();
    assert!(told.error.unwrap().contains("s3://BUCKET/PREFIX"));
    drop(stop);
    running.await.unwrap();
}

#[tokio::test]
async fn wrong_places_are_reported() {
    let place = Place::new();
    let gone = format!("file://{}", place.join("nothing").display());
    assert!(matches!(Archive::open(&gone), Err(ArchiveError::Directory { .. })));
    assert!(!place.join("nothing").exists());
    assert!(matches!(Archive::open("ftp://x/y"), Err(ArchiveError::Url { .. })));
    let empty = place.archive();
    let dir = place.join("two");
    let none = empty.restore(&dir, RestoreOptions::default(), |_| {}).await;
    assert!(matches!(none, Err(ArchiveError::NoLog { .. })), "{none:?}");
    assert!(!dir.exists(), "nothing is made where nothing can be restored");

    let store = place.store("one");
    append(&store, 0..600);
    push(&empty, &store).await;
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join(".hidden"), "in nobody's way").unwrap();
    for other in ["notes.txt", "ARCHIVE-RESTORING/photos.ckpt"] {
        // The second one beside what an interrupted restore leaves.
        let (marker, other) = other.split_once('/').map_or((None, other), |(a, b)| (Some(a), b));
        let marker = marker.map(|marker| dir.join(marker));
        if let Some(marker) = &marker {
            fs::write(marker, "").unwrap();
        }
        fs::write(dir.join(other), "mine").unwrap();
        let occupied = empty.restore(&dir, RestoreOptions::default(), |_| {}).await;
        assert!(matches!(occupied, Err(ArchiveError::NotEmpty { .. })), "{occupied:?}");
        fs::remove_file(dir.join(other)).unwrap();
    }
    // A program that another test starts has, until it runs, the locks of all files that are open:
    // they are waited for.
    empty.restore(&dir, RestoreOptions::default(), |_| {}).await.unwrap();
}

/// What looks like the rest of a restore may be a store, with entries that no archive has.
#[tokio::test]
async fn a_store_that_lost_its_identity_is_not_restored_over() {
    let place = Place::new();
    let (archive, store) = (place.archive(), place.store("one"));
    append(&store, 0..600);
    push(&archive, &store).await;
    append(&store, 600..700);
    drop(store);
    fs::remove_file(place.join("one").join("IDENTITY")).unwrap();
    let files = || {
        let entries = fs::read_dir(place.join("one")).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let before = files();
    let restored = archive.restore(&place.join("one"), RestoreOptions::default(), |_| {}).await;
    assert!(matches!(restored, Err(ArchiveError::NotEmpty { .. })), "{restored:?}");
    assert!(files() == before, "something was changed");
}
