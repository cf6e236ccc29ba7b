//! The step that kills a process in the middle of appending.

use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use stemedb::{AssertionId, Options, Store};

use super::narrator::Narrator;
use crate::cli::failure::Failure;
use crate::cli::format::grouped;
use crate::cli::stopwatch::Stopwatch;

/// The child is killed once so many appends are acknowledged.
const ACKNOWLEDGED_ENOUGH: usize = 50_000;
/// ... or once it ran so long, on a slow disk.
const LIFE_MAX: Duration = Duration::from_secs(2);

#[derive(Serialize)]
pub(super) struct Facts {
    acknowledged: usize,
    survived: usize,
    lost: usize,
    unacknowledged: u64,
    reopened_ms: f64,
}

pub(super) fn show(dir: &Path, narrator: &mut Narrator) -> Result<Facts, Failure> {
    narrator
        .step("Crash", "another process appends without end, and is killed in the midst of it")?;
    let acknowledged = append_and_kill(dir)?;
    narrator
        .row("killed after", &format!("{} acknowledgements", grouped(acknowledged.len() as u64)))?;

    let watch = Stopwatch::start();
    let store = Store::open(dir, Options::default().create(false))?;
    let reopened_ms = watch.millis();
    narrator.row("reopened in", &format!("{reopened_ms:.1} ms"))?;
    for remark in store.open_report().to_string().lines() {
        narrator.row("it says", remark)?;
    }
    let mut survived = 0;
    for id in &acknowledged {
        survived += usize::from(store.get(id)?.is_some());
    }
    let head = store.head()?;
    store.close()?;
    let lost = acknowledged.len() - survived;
    narrator.row("survived", &format!("{}, {lost} lost", grouped(survived as u64)))?;
    let miscounted = Failure::Demo { what: "a reopened store does not count what it holds" };
    let unacknowledged = head.count.checked_sub(survived as u64).ok_or(miscounted)?;
    narrator.row("besides", &format!("{} not acknowledged yet", grouped(unacknowledged)))?;
    if lost > 0 || acknowledged.is_empty() {
        return Err(Failure::Demo { what: "an acknowledged append did not survive the kill" });
    }
    let acknowledged = acknowledged.len();
    Ok(Facts { acknowledged, survived, lost, unacknowledged, reopened_ms })
}

/// Starts this very program as `append --acks`, feeds it, and kills it. Returns what it
/// acknowledged up to its last moment.
fn append_and_kill(dir: &Path) -> Result<Vec<AssertionId>, Failure> {
    let system = |action| move |source| Failure::System { action, source };
    let program = std::env::current_exe().map_err(system("find this program"))?;
    let mut child = Command::new(program)
        .arg("--store")
        .arg(dir)
        .args(["append", "--acks"])
        .env_remove("STEMEDB_SECRET_FILE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(system("start another process"))?;
    let input = child.stdin.take();
    let feeder = thread::Builder::new().spawn(move || feed(input));
    let acknowledged = read_and_kill(&mut child);
    // Whatever came of reading, nothing is left running.
    let killed = child.kill().and_then(|()| child.wait());
    let feeder = feeder.map_err(system("start a thread"))?;
    let _ = feeder.join();
    killed.map_err(system("kill the other process"))?;
    acknowledged.map_err(system("read what the other process acknowledges"))
}

/// Writes lines until nobody takes them.
fn feed(input: Option<impl Write>) {
    let Some(input) = input else { return };
    let mut input = BufWriter::new(input);
    for n in 0_u64.. {
        let line = writeln!(input, "reading {n}: the probe in the river says {} mm", n * 37 % 4001);
        if line.is_err() {
            return;
        }
    }
}

fn read_and_kill(child: &mut Child) -> io::Result<Vec<AssertionId>> {
    let Some(output) = child.stdout.take() else { return Ok(Vec::new()) };
    let mut output = BufReader::new(output);
    let watch = Stopwatch::start();
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    let mut alive = true;
    loop {
        line.clear();
        // What is in the pipe when the process dies still counts as acknowledged; a line that the
        // kill cut off does not.
        if output.read_line(&mut line)? == 0 || !line.ends_with('\n') {
            return Ok(acknowledged);
        }
        let id = line.trim_end().split_once(' ').and_then(|(_, id)| id.parse().ok());
        acknowledged.extend::<Option<AssertionId>>(id);
        if alive && (acknowledged.len() >= ACKNOWLEDGED_ENOUGH || watch.elapsed() > LIFE_MAX) {
            child.kill()?;
            alive = false;
        }
    }
}
