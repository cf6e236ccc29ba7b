//! Power cuts of real file systems, while a process appends.
//!
//! The file system lies on a loop device over a disk with a volatile cache ([`VolatileDisk`]). Any
//! number of times, at any moment, what a cut would leave is written to an image beside it: all
//! that was acknowledged before that moment must be in the store that the image holds, once its
//! file system has recovered.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use stemedb::{AssertionId, Store};

use super::volatile::{Survival, VolatileDisk};
use crate::crash::appender;
use crate::reference::random::{Random, first_seed, number_from_env};

/// Programs that make a file system, and what mounting a copy beside the original takes.
struct Kind {
    name: &'static str,
    make: &'static [&'static str],
    options: &'static str,
}

const KINDS: [Kind; 3] = [
    Kind { name: "ext4", make: &["mkfs.ext4", "-q", "-F"], options: "loop" },
    Kind { name: "xfs", make: &["mkfs.xfs", "-q", "-f"], options: "loop,nouuid" },
    Kind { name: "btrfs", make: &["mkfs.btrfs", "-q", "-f"], options: "loop" },
];

/// The size of the disk, in bytes: XFS wants 300 MiB.
const DISK_LEN: u64 = 384 << 20;

/// Makes the process's syncs do nothing, and say that they did.
const WITHOUT_SYNCS: [&str; 7] = [
    "strace",
    "-f",
    "-qq",
    "-o/dev/null",
    "--seccomp-bpf",
    "-etrace=fsync,fdatasync,sync_file_range",
    "-einject=fsync,fdatasync,sync_file_range:retval=0",
];

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// A file system that is mounted until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path, options: &str, dir: PathBuf) -> Self {
        let _ = std::fs::create_dir(&dir);
        run("mount", &["-o", options, image.to_str().unwrap(), dir.to_str().unwrap()]);
        Self(dir)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What was just killed may still be on its way out.
        for _ in 0..100 {
            let umount = Command::new("umount").arg(&self.0).output();
            if umount.is_ok_and(|output| output.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        eprintln!("{} stays mounted", self.0.display());
    }
}

type Acknowledged = BTreeMap<u64, AssertionId>;

/// A process that appends to a store, until it is dropped.
struct Appending {
    dir: PathBuf,
    acknowledged: Arc<Mutex<Acknowledged>>,
    child: Child,
    reader: Option<JoinHandle<()>>,
}

impl Appending {
    fn start(dir: PathBuf, round: u64, before: &[&str], acknowledged: Acknowledged) -> Self {
        let mut child = appender::command(&dir, round, before).spawn().unwrap();
        let lines = appender::acknowledgements(child.stdout.take().unwrap());
        let acknowledged = Arc::new(Mutex::new(acknowledged));
        let shared = Arc::clone(&acknowledged);
        let reader = std::thread::spawn(move || {
            for (index, id) in lines {
                shared.lock().unwrap().insert(index, id);
            }
        });
        Self { dir, acknowledged, child, reader: Some(reader) }
    }

    fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Kills it, and gives all that it acknowledged.
    fn kill(mut self) -> Acknowledged {
        self.end();
        self.acknowledged()
    }

    fn end(&mut self) {
        if let Some(reader) = self.reader.take() {
            // With strace in between both go, and strace's end leaves nothing running.
            let _ = self.child.kill();
            let _ = self.child.wait();
            let pattern = self.dir.to_str().unwrap();
            kill_with_environment(pattern);
            let _ = reader.join();
        }
    }
}

impl Drop for Appending {
    fn drop(&mut self) {
        self.end();
    }
}

/// Kills the processes whose environment names this directory: those that strace left.
fn kill_with_environment(dir: &str) {
    let Ok(processes) = std::fs::read_dir("/proc") else { return };
    for process in processes.filter_map(Result::ok) {
        let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
        let wanted = format!("STEMEDB_CRASH_DIR={dir}");
        if environment.split(|byte| *byte == 0).any(|variable| variable == wanted.as_bytes()) {
            let pid = process.file_name();
            let _ = Command::new("kill").arg("-KILL").arg(pid).status();
        }
    }
}

/// What was cut, and what came of it.
#[derive(Debug, Default)]
struct Tally {
    cuts: u64,
    /// Cuts before which something was acknowledged.
    busy: u64,
    /// Acknowledged appends that were looked for.
    looked_for: u64,
    /// Stores that opening had something to say of.
    torn: u64,
    survivals: BTreeMap<Survival, u64>,
}

/// What the store in an image holds, against what was acknowledged.
fn verify(dir: &Path, acknowledged: &Acknowledged, tally: &mut Tally) -> Result<(), String> {
    if acknowledged.is_empty() && !dir.join("IDENTITY").exists() {
        return Ok(());
    }
    let store = Store::open(dir, appender::options()).map_err(|error| error.to_string())?;
    tally.torn += u64::from(!store.open_report().remarks.is_empty());
    appender::check(&store, acknowledged, 0)?;
    appender::check_whole(&store);
    tally.looked_for += acknowledged.len() as u64;
    store.close().map_err(|error| error.to_string())
}

/// Cuts the power of a file system of this kind so often, and says what was lost.
fn cut_power(kind: &Kind, cuts: u64, before: &[&str]) -> Result<Tally, String> {
    let seed = first_seed(1);
    let mut random = Random::new(seed);
    let place = tempfile::Builder::new().prefix("power-").tempdir().unwrap();
    let [disk, image] = ["disk", "image"].map(|name| place.path().join(name));
    std::fs::File::create(&disk).unwrap().set_len(DISK_LEN).unwrap();
    run(kind.make[0], &[&kind.make[1..], &[disk.to_str().unwrap()]].concat());
    let volatile = VolatileDisk::over(&disk);
    let mounted = Mounted::new(&disk, kind.options, place.path().join("mounted"));
    let mut tally = Tally::default();
    let mut life = 0;
    let mut appending = Appending::start(mounted.0.join("0"), 0, before, Acknowledged::new());
    while tally.cuts < cuts {
        std::thread::sleep(Duration::from_micros(random.below(120_000)));
        if tally.cuts % 5 == 4 {
            // Either the same store again, after a kill, or another one.
            life += 1;
            let (dir, again) = (appending.dir.clone(), random.one_in(2));
            let acknowledged = appending.kill();
            appending = if again && acknowledged.len() < 20_000 {
                Appending::start(dir, life, before, acknowledged)
            } else {
                let next = mounted.0.join(life.to_string());
                let next = Appending::start(next, life, before, Acknowledged::new());
                std::fs::remove_dir_all(dir).map_err(|error| error.to_string())?;
                next
            };
            std::thread::sleep(Duration::from_micros(random.below(200_000)));
        }
        let survival = Survival::ALL[random.index(Survival::ALL.len())];
        // In this order: what is acknowledged by now is durable in what the cut leaves.
        let acknowledged = appending.acknowledged();
        volatile.cut(survival, &mut random, &image);
        tally.cuts += 1;
        tally.busy += u64::from(!acknowledged.is_empty());
        *tally.survivals.entry(survival).or_default() += 1;
        let recovered = Mounted::new(&image, kind.options, place.path().join("recovered"));
        let dir = recovered.0.join(appending.dir.file_name().unwrap());
        verify(&dir, &acknowledged, &mut tally).map_err(|error| {
            let count = acknowledged.len();
            let cut = tally.cuts;
            format!(
                "STEMEDB_SEED={seed}, {}, cut {cut} ({survival:?}), {count} acknowledged: {error}",
                kind.name
            )
        })?;
    }
    drop(appending);
    let flushes = volatile.flushes();
    assert!(flushes > 0, "no flush came through: the rig proves nothing");
    println!("{}: {flushes} flushes; {tally:?}", kind.name);
    Ok(tally)
}

fn no_cut_loses_anything(kind: &Kind) {
    let began = Instant::now();
    let cuts = number_from_env("STEMEDB_POWER_CUTS").unwrap_or(20);
    let tally = cut_power(kind, cuts, &[]).unwrap_or_else(|error| panic!("{error}"));
    assert!(tally.busy * 2 > cuts, "{} of {cuts} cuts under load", tally.busy);
    println!("{}: {cuts} power cuts in {:?}", kind.name, began.elapsed());
}

#[test]
#[ignore = "needs root, FUSE and loop devices: .ci/long"]
fn no_power_cut_of_ext4_loses_what_was_acknowledged() {
    no_cut_loses_anything(&KINDS[0]);
}

#[test]
#[ignore = "needs root, FUSE and loop devices: .ci/long"]
fn no_power_cut_of_xfs_loses_what_was_acknowledged() {
    no_cut_loses_anything(&KINDS[1]);
}

#[test]
#[ignore = "needs root, FUSE and loop devices: .ci/long"]
fn no_power_cut_of_btrfs_loses_what_was_acknowledged() {
    no_cut_loses_anything(&KINDS[2]);
}

#[test]
#[ignore = "needs root, FUSE, loop devices and strace: .ci/long"]
fn control_a_process_that_does_not_sync_is_caught() {
    for kind in &KINDS {
        let lost = cut_power(kind, 60, &WITHOUT_SYNCS);
        println!("{}: {}", kind.name, lost.as_ref().err().map_or("nothing lost", String::as_str));
        assert!(lost.is_err(), "{}: {lost:?}", kind.name);
    }
}
