//! Either side of a large sync is killed in the midst of it, and started again.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use serde_json::Value;

use super::binary::{Place, finish, lines};
use super::serving::Served;

/// How many bodies each side has of its own, of some 400 bytes.
const OWN: u32 = 40_000;
const COMMON: u32 = 2_000;
/// What a store's log has in bytes before it has anything of the other's, about.
pub(super) const OWN_LEN: u64 = 18 << 20;

/// The segments of a store's log in order. On a busy machine it moves on to the next one early.
fn segments(store: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    // Not what is cut off a torn one at an opening, and kept beside it.
    let is_segment = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("segment-") && path.extension().is_some_and(|kind| kind == "log")
    };
    let mut segments: Vec<_> = entries.filter(is_segment).collect();
    segments.sort();
    segments
}

/// Whether so many bytes of a store's log are written. Its last segment is zeros where nothing was
/// written yet.
fn has_log(store: &Path, len: u64) -> bool {
    let segments = segments(store);
    let (last, sealed) = segments.split_last().unwrap();
    let sealed: u64 = sealed.iter().map(|segment| segment.metadata().unwrap().len()).sum();
    let Some(rest) = len.checked_sub(sealed) else { return true };
    let mut bytes = [0; 64];
    let read = File::open(last).and_then(|file| file.read_at(&mut bytes, rest));
    read.is_ok() && bytes != [0; 64]
}

/// Waits until so many bytes of a store's log are written. Gives up when the process has ended.
pub(super) fn wait_for_log(store: &Path, len: u64, process: &mut Child) -> bool {
    while !has_log(store, len) {
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Where what is written of a store's log ends.
fn log_len(store: &Path) -> u64 {
    let segments: Vec<_> =
        segments(store).iter().map(|path| std::fs::read(path).unwrap()).collect();
    let (last, sealed) = segments.split_last().unwrap();
    let written = last.iter().rposition(|&byte| byte != 0).unwrap();
    (sealed.iter().map(Vec::len).sum::<usize>() + written) as u64
}

/// Two stores with much to tell each other.
pub(super) fn two() -> Place {
    let place = Place::new();
    let filler = "that goes on for a while so that it takes some time to travel ".repeat(6);
    for store in ["a", "b"] {
        let own = lines(&format!("{store} {filler}"), 0..OWN);
        place.run_with(&["append", "--store", store], lines("common", 0..COMMON) + &own).ok();
    }
    place
}

pub(super) fn count(place: &Place, store: &str) -> u64 {
    let head = place.run(&["root", "--store", store, "--json"]).ok();
    serde_json::from_str::<Value>(head.text()).unwrap()["count"].as_u64().unwrap()
}

/// The last sync: it has to move just what is still missing, and then both hold everything.
pub(super) fn complete(place: &Place, sync: Child, held: [u64; 2]) {
    let report = finish(sync, b"").ok();
    let report: Value = serde_json::from_str(report.text()).unwrap();
    let all = u64::from(COMMON + 2 * OWN);
    assert_eq!(report["equal"], true, "{report}");
    let [a, b] = held.map(|held| all - held);
    assert_eq!((report["pushed"].as_u64(), report["fetched"].as_u64()), (Some(a), Some(b)));
    assert_eq!(count(place, "b"), all);
    place.run(&["check", "--store", "b", "--deep"]).ok();
}

fn sync(place: &Place, address: &str) -> Child {
    place.command(&["sync", "--store", "b", "--json", address]).spawn().unwrap()
}

/// A sync of which some bodies have arrived, and not all.
fn sync_to_its_midst(place: &Place, address: &str) -> Child {
    let mut child = sync(place, address);
    if wait_for_log(&place.path("b"), OWN_LEN + (4 << 20), &mut child) {
        return child;
    }
    panic!("the sync was over before it was killed: {}", finish(child, b"").text());
}

#[test]
fn an_initiator_that_is_killed_goes_on_where_it_was() {
    let place = two();
    let served = Served::start(&place, "a", &[]);
    let start = count(&place, "b");
    let mut before = start;
    for _ in 0..3 {
        let midst = log_len(&place.path("b")) + (3 << 20);
        let mut child = sync(&place, &served.address);
        // A busy machine may let more arrive before each kill, so that fewer kills find a midst.
        if !wait_for_log(&place.path("b"), midst, &mut child) {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let held = count(&place, "b");
        assert!(held > before, "{held} after {before}: what has arrived is kept");
        before = held;
    }
    assert!(before > start, "no sync was killed in its midst");
    let address = served.address.clone();
    assert_eq!(served.stop().0, 0);
    let held = [count(&place, "a"), before];
    let served = Served::on(&place, "a", &address, &[]);
    complete(&place, sync(&place, &served.address), held);
    assert_eq!(served.stop().0, 0);
    assert_eq!(count(&place, "a"), u64::from(COMMON + 2 * OWN));
    place.run(&["check", "--store", "a", "--deep"]).ok();
}

#[test]
fn a_responder_that_is_killed_and_started_again_is_gone_on_with() {
    let place = two();
    let served = Served::start(&place, "a", &[]);
    let address = served.address.clone();
    let child = sync_to_its_midst(&place, &address);
    served.signal("-KILL");
    drop(served);
    // At once on the same address: the session begins anew by itself, or ends and says so.
    let served = Served::on(&place, "a", &address, &[]);
    let outcome = finish(child, b"");
    assert!(matches!(outcome.code, 0 | 1), "{outcome:?}");
    served.stop();
    let held = [count(&place, "a"), count(&place, "b")];
    assert!(held[1] > u64::from(COMMON + OWN), "what has arrived is kept");
    let served = Served::on(&place, "a", &address, &[]);
    complete(&place, sync(&place, &address), held);
    served.stop();
    assert_eq!(count(&place, "a"), u64::from(COMMON + 2 * OWN));
    place.run(&["check", "--store", "a", "--deep"]).ok();
}

#[test]
fn an_initiator_whose_peer_stays_away_ends_and_says_so() {
    let place = two();
    let served = Served::start(&place, "a", &[]);
    let child = sync_to_its_midst(&place, &served.address);
    served.signal("-KILL");
    drop(served);
    let outcome = finish(child, b"");
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let report: Value = serde_json::from_str(outcome.text()).unwrap();
    let fetched = report["fetched"].as_u64().unwrap();
    assert_eq!(count(&place, "b"), u64::from(COMMON + OWN) + fetched);
}
