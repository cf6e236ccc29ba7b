//! The check in the background: what it finds, that it goes on after a restart, and that it heals.

use crate::reference::random;
use crate::reference::world;
use std::{collections::BTreeSet, future::pending, sync::Arc, time::Duration};

use random::{Random, noise};
use stemedb::{
    AssertionId, Depth, Options, Store,
    node::{
        options::ScrubPolicy,
        scrub::{self, Donor, Found, Outcome, Scrub, Step, View},
    },
};
use stemedb_simdisk::FaultyDisk;
use stemedb_wal::disk::Disk as _;
use tokio::sync::watch;
use world::ENVIRONMENT;

const ENTRIES: u64 = 600;

fn options() -> Options {
    let threads = false;
    Options::default().segment_len(16 << 10).threads(threads).map_files(false)
}

fn open(disk: &FaultyDisk) -> Store {
    let opened = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options());
    opened.unwrap_or_else(|error| panic!("{error}"))
}

fn body(n: u64) -> Vec<u8> {
    noise(n + 1, usize::try_from(40 + 7 * n % 200).unwrap())
}

fn id(n: u64) -> AssertionId {
    AssertionId(blake3::hash(&body(n)).into())
}

fn filled() -> (FaultyDisk, Vec<String>) {
    world::reset();
    let disk = FaultyDisk::new(1);
    let store = open(&disk);
    let bodies: Vec<_> = (0..ENTRIES).map(body).collect();
    bodies.chunks(7).for_each(|some| drop(store.append_batch(some).unwrap()));
    store.checkpoint().unwrap();
    store.close().unwrap();
    let mut names = disk.list().unwrap();
    names.retain(|name| stemedb_wal::sealed::parse_segment_name(name).is_some());
    assert!(names.len() >= 5, "{names:?}");
    (disk, names)
}

/// Flips bits in the body of an entry while the store is open.
fn hurt(disk: &FaultyDisk, names: &[String], n: u64) {
    let body = body(n);
    for name in names {
        let bytes = disk.contents(name).unwrap();
        if let Some(at) = bytes.windows(body.len()).position(|window| window == body) {
            let file = disk.open(name).unwrap();
            return file.write_at(&[bytes[at + 3] ^ 0x11], at as u64 + 3).unwrap();
        }
    }
    panic!("entry {n} is nowhere");
}

/// Steps until the end of a pass.
fn whole_pass(scrub: &mut Scrub, store: &Store, budget: u64) -> Vec<Step> {
    let mut steps = Vec::new();
    loop {
        let step = scrub.step(store, budget).unwrap();
        let ended = step.pass_ended;
        steps.push(step);
        if ended {
            return steps;
        }
        assert!(steps.len() < 100_000, "it does not end");
    }
}

#[test]
fn a_whole_store_is_read_once_and_nothing_is_found() {
    let (disk, names) = filled();
    let store = open(&disk);
    let held: u64 = names.iter().map(|name| disk.contents(name).unwrap().len() as u64).sum();
    for budget in [1, 1000, 1 << 16, 1 << 30] {
        let mut scrub = Scrub::restart(&store);
        let steps = whole_pass(&mut scrub, &store, budget);
        assert!(steps.iter().all(|step| step.faults.is_empty()));
        let read: u64 = steps.iter().map(|step| step.read).sum();
        assert!(read >= held - 4096 && read <= held + 4 * 8192 + 4096, "{read} of {held}");
        assert_eq!(scrub.counts(), (0, 0));
        let (began, ended) = scrub.last_pass().unwrap();
        assert!(began <= ended + (1 << 32));
        assert_eq!(scrub.began(), None);
    }
}

/// Some bodies in all segments, the open one too: all are found, each once, and named.
#[test]
fn what_is_damaged_is_found() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let (disk, names) = filled();
        let store = open(&disk);
        let hurts: BTreeSet<u64> = (0..=seed).map(|_| random.below(ENTRIES)).collect();
        for n in &hurts {
            hurt(&disk, &names, *n);
        }
        let mut scrub = Scrub::restart(&store);
        let steps = whole_pass(&mut scrub, &store, 1 << (10 + seed % 8));
        let found: Vec<_> = steps.iter().flat_map(|step| &step.faults).collect();
        let ids: BTreeSet<_> = found.iter().filter_map(|found| found.id).collect();
        assert_eq!(ids, hurts.iter().map(|n| id(*n)).collect(), "seed {seed}: {found:?}");
        assert_eq!(found.len(), hurts.len(), "seed {seed}: {found:?}");
        for found in found {
            assert_eq!(Some(id(found.index.get())), found.id, "seed {seed}");
            assert_eq!(found.outcome, Outcome::Open);
        }
    }
}

/// A step at a time, each by another process: the pass goes on from the segment it was in, and
/// finds all that one process would.
#[test]
fn a_restart_goes_on_with_the_pass() {
    let (disk, names) = filled();
    for n in [5, 300, 590] {
        hurt(&disk, &names, n);
    }
    let mut found = BTreeSet::new();
    let mut places = Vec::new();
    for _ in 0..10_000 {
        let store = open(&disk);
        let mut scrub = Scrub::open(&store);
        places.push(scrub.position());
        // Enough for a segment and a part of the next.
        let step = scrub.step(&store, 20 << 10).unwrap();
        found.extend(step.faults.iter().filter_map(|found| found.id));
        if step.pass_ended {
            break;
        }
    }
    assert_eq!(found, [5, 300, 590].map(id).into());
    // The last one found only tiles left to be read.
    places.pop();
    assert!(places.is_sorted() && places.len() >= 4, "{places:?}");
    let store = open(&disk);
    let scrub = Scrub::open(&store);
    assert!(scrub.last_pass().is_some() && scrub.began().is_none());
    assert_eq!(scrub.position(), 0);

    // Damaged or missing it is only a cache.
    let whole = disk.contents("SCRUB").unwrap();
    for bit in 0..whole.len() * 8 {
        let mut bad = whole.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        disk.put("SCRUB", &bad).unwrap();
        assert_eq!(Scrub::open(&store).last_pass(), None, "bit {bit}");
    }
    disk.remove("SCRUB").unwrap();
    assert_eq!(Scrub::open(&store).last_pass(), None);
}

#[test]
fn footers_headers_and_tiles_are_looked_at_too() {
    let (disk, names) = filled();
    let name = &names[1];
    let len = disk.contents(name).unwrap().len();
    let tiles = disk.contents("history.tiles").unwrap().len();
    assert!(tiles > 0);
    for (name, at) in [
        (name.as_str(), 20),
        (name, 100),
        (name, len - 3),
        (name, len - 100),
        ("history.tiles", 77),
        ("history.tiles", tiles - 5),
    ] {
        let hurt = disk.fork();
        let store = open(&hurt);
        let bytes = hurt.contents(name).unwrap();
        hurt.open(name).unwrap().write_at(&[bytes[at] ^ 2], at as u64).unwrap();
        let mut scrub = Scrub::restart(&store);
        let mut steps = whole_pass(&mut scrub, &store, 4096);
        let mut found: Vec<Found> = steps.drain(..).flat_map(|step| step.faults).collect();
        assert!(!found.is_empty(), "{name} at {at}");
        assert!(found.iter().all(|found| found.id.is_none()), "{name} at {at}: {found:?}");
        for found in &mut found {
            scrub.heal(&store, found, None);
        }
        let healed = found.iter().all(Found::is_healed);
        // A tile is only a cache, and stays as it is until `repair`.
        assert_eq!(healed, name != "history.tiles", "{name} at {at}: {found:?}");
        if healed {
            let whole = store.check(Depth::Deep, &mut |_| {}).unwrap();
            assert!(whole.faults.is_empty(), "{name} at {at}: {:?}", whole.faults);
        }
    }
}

/// Has the bodies, or lies.
struct Peer {
    honest: bool,
}

impl Donor for Peer {
    async fn body(&self, wanted: &AssertionId) -> Option<Vec<u8>> {
        let held = (0..ENTRIES).find(|n| id(*n) == *wanted)?;
        Some(if self.honest { body(held) } else { b"something else".to_vec() })
    }
}

struct Nobody;

impl Donor for Nobody {
    async fn body(&self, _: &AssertionId) -> Option<Vec<u8>> {
        None
    }
}

/// A length of zeros over several records and a frame, as a bad sector leaves it.
#[tokio::test]
async fn one_pass_heals_all_of_it() {
    for (first, last) in [(40, 40), (40, 43), (101, 130), (0, 20), (595, 599)] {
        let (disk, names) = filled();
        let store = Arc::new(open(&disk));
        for n in first..=last {
            hurt(&disk, &names, n);
        }
        let view = View::default();
        let found = scrub::pass(&store, None, &Nobody, &view, pending()).await.unwrap();
        assert!(found.iter().all(|found| found.outcome == Outcome::NoDonor), "{found:?}");
        let liar = Peer { honest: false };
        let found = scrub::pass(&store, None, &liar, &view, pending()).await.unwrap();
        let refused = |outcome: &Outcome| match outcome {
            Outcome::Failed { reason } => reason.contains("hashes to"),
            _ => false,
        };
        assert!(found.iter().all(|found| refused(&found.outcome)), "{found:?}");
        assert_eq!(view.status().healed, 0);

        let peer = Peer { honest: true };
        let found = scrub::pass(&store, None, &peer, &view, pending()).await.unwrap();
        assert_eq!(found.len() as u64, last - first + 1);
        assert!(found.iter().all(Found::is_healed), "{found:?}");
        let status = view.status();
        assert_eq!((status.damaged, status.healed), (3 * (last - first + 1), last - first + 1));
        assert_eq!(view.unhealed(), 0, "the same places, now healed");
        let found = scrub::pass(&store, None, &peer, &view, pending()).await.unwrap();
        assert!(found.is_empty(), "{found:?}");
        let whole = store.check(Depth::Deep, &mut |_| {}).unwrap();
        assert!(whole.faults.is_empty(), "{:?}", whole.faults);
        for n in 0..ENTRIES {
            assert_eq!(store.get(&id(n)).unwrap(), Some(body(n)));
        }
    }
}

#[tokio::test]
async fn a_sector_of_zeros_is_healed() {
    let (disk, names) = filled();
    let mut healed = 0;
    for (segment, sector) in [(0, 1), (0, 3), (1, 5), (2, 9), (3, 2), (1, 17)] {
        let hurt = disk.fork();
        let store = Arc::new(open(&hurt));
        let file = hurt.open(&names[segment]).unwrap();
        file.write_at(&[0; 512], sector * 512).unwrap();
        let peer = Peer { honest: true };
        let view = View::default();
        let found = scrub::pass(&store, None, &peer, &view, pending()).await.unwrap();
        let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert!(found.iter().all(Found::is_healed), "{segment} {sector}: {texts:#?}");
        assert!(found.len() > 1, "{segment} {sector}: {texts:#?}");
        let whole = store.check(Depth::Deep, &mut |_| {}).unwrap();
        assert!(whole.faults.is_empty(), "{segment} {sector}: {:?}", whole.faults);
        healed += found.len();
    }
    println!("{healed} faults of 6 sectors were healed");
}

/// The driver of a node: pass after pass at its rate, off while it is told to be, and it ends.
#[tokio::test]
async fn a_node_checks_pass_after_pass() {
    let (disk, names) = filled();
    let store = Arc::new(open(&disk));
    let policy = ScrubPolicy::default().bytes_per_second(1 << 30).interval(Duration::ZERO);
    let (tell, told) = watch::channel(None);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let view = View::default();
    let running = tokio::spawn({
        let (store, view) = (Arc::clone(&store), view.clone());
        let stopped = async move { drop(stopped.await) };
        let peer = Peer { honest: true };
        async move { scrub::run(store, told, peer, view, stopped).await }
    });
    let until = async |what: &str, done: &dyn Fn() -> bool| {
        for _ in 0..20_000 {
            if done() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("{what}");
    };
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(view.bytes_read(), 0, "it is off");
    hurt(&disk, &names, 123);
    tell.send(Some(policy)).unwrap();
    until("a pass ends", &|| view.status().last_pass.is_some()).await;
    until("what it found is healed", &|| view.status().healed == 1).await;
    let findings = view.findings();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].id, Some(id(123)));
    assert_eq!(store.get(&id(123)).unwrap(), Some(body(123)));
    let read = view.bytes_read();
    until("it goes on", &|| view.bytes_read() > 3 * read).await;
    stop.send(()).unwrap();
    running.await.unwrap();
}
