//! `stemedb demo`: the main job on real input, told step by step.

mod crash;
mod lines;
mod meeting;
mod narrator;
mod proofs;
mod served;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use stemedb::node::status::HeadStatus;
use stemedb::{Options, Receipt, Store};

use self::lines::Lines;
use self::narrator::Narrator;
use super::failure::{Exit, Failure};
use super::format::grouped;
use super::input::to_hex;
use super::signals::Signals;
use super::stopwatch::Stopwatch;
use super::{Globals, open};

/// See everything at work on real input: the lines of this project's own sources
///
/// Appends them, shows the root, proves and verifies, damages a proof and shows that it fails,
/// kills a process in the middle of appending and reopens its store, compares two stores and
/// copies only what is missing, then serves two and lets them meet over gRPC. Works in a temporary
/// directory that is removed at the end, and takes a few seconds; the store that --store names is
/// not touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb demo
  stemedb demo --keep tour && stemedb --store tour/first stats

JSON: {input, append, proofs, crash, meeting, sync, seconds}; the story goes to standard error \
then")]
pub(super) struct Args {
    /// Work in this directory and leave everything there; it must be empty or not exist
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let Some(dir) = &args.keep else {
        let dir = tempfile::tempdir()
            .map_err(|source| Failure::System { action: "make a temporary directory", source })?;
        remove_when_interrupted(dir.path().to_path_buf())?;
        return tour(dir.path(), false, globals.json);
    };
    make_empty(dir)?;
    tour(dir, true, globals.json)
}

/// At Ctrl-C the temporary directory goes as it does at the end.
fn remove_when_interrupted(dir: PathBuf) -> Result<(), Failure> {
    Signals::watch_and(move || {
        // What cannot be removed now, as it is just being written, is left to the system.
        let _ = fs::remove_dir_all(&dir);
        std::process::exit(Exit::Failed as i32);
    })?;
    Ok(())
}

fn make_empty(dir: &Path) -> Result<(), Failure> {
    let cannot = |source| Failure::File { action: "make the directory", path: dir.into(), source };
    fs::create_dir_all(dir).map_err(cannot)?;
    if fs::read_dir(dir).map_err(cannot)?.next().is_some() {
        return Err(Failure::NotEmpty { dir: dir.into() });
    }
    Ok(())
}

fn tour(dir: &Path, keep: bool, as_json: bool) -> Result<(), Failure> {
    let watch = Stopwatch::start();
    let mut narrator = Narrator::new(as_json);
    let lines = lines::gather();
    let first = dir.join("first");
    let store = open::open(&first, Options::default())?;
    let (input, append) = append(&store, &lines, &mut narrator)?;
    let proofs = proofs::show(&store, &lines, dir, &mut narrator)?;
    let crash = crash::show(&dir.join("killed"), &mut narrator)?;
    let meeting = meeting::show(&store, &dir.join("second"), &lines, &mut narrator)?;
    let sync = served::show(dir, &lines, &mut narrator)?;
    store.close()?;

    narrator.step("Done", "")?;
    if keep {
        narrator.say(&format!("All of it is in {}. Look around:", dir.display()))?;
        narrator.say(&format!("  stemedb --store {} stats", first.display()))?;
        narrator.say(&format!("  stemedb --store {} log --limit 10", first.display()))?;
        narrator.say(&format!("  stemedb verify {} --root HEX", proofs::path(dir).display()))?;
    } else {
        narrator
            .say("The directory is removed again; `stemedb demo --keep DIR` leaves it to you.")?;
        narrator.say("Now your own: echo 'the sky is blue' | stemedb append")?;
    }
    let seconds = watch.elapsed().as_secs_f64();
    narrator.say(&format!("That took {seconds:.1} s."))?;
    let seconds = (seconds * 1e3).round() / 1e3;
    narrator.finish(&Facts { input, append, proofs, crash, meeting, sync, seconds })
}

/// Facts of all steps.
#[derive(Serialize)]
struct Facts {
    input: Input,
    append: Batch,
    proofs: proofs::Facts,
    crash: crash::Facts,
    meeting: meeting::Facts,
    sync: [served::Facts; 2],
    seconds: f64,
}

#[derive(Serialize)]
struct Input {
    files: usize,
    lines: usize,
}

#[derive(Serialize)]
struct Batch {
    appended: usize,
    duplicates: usize,
    ms: f64,
    #[serde(flatten)]
    head: HeadStatus,
}

fn append(
    store: &Store,
    lines: &Lines,
    narrator: &mut Narrator,
) -> Result<(Input, Batch), Failure> {
    narrator.step("The input", "each line becomes an assertion, named by its BLAKE3 hash")?;
    narrator.row("from", &lines.source)?;
    narrator.row("files", &grouped(lines.files as u64))?;
    narrator.row("lines", &grouped(lines.bodies.len() as u64))?;

    narrator.step("Append", "each is durable before it is acknowledged")?;
    let watch = Stopwatch::start();
    let receipts = store.append_batch(&lines.bodies)?;
    let ms = watch.millis();
    let is_duplicate = |receipt: &&Receipt| receipt.duplicate;
    let duplicates = receipts.iter().filter(is_duplicate).count();
    let appended = receipts.len() - duplicates;
    let head = store.head()?;
    narrator.row("appended", &grouped(appended as u64))?;
    narrator.row("duplicates", &format!("{} (a body is held once)", grouped(duplicates as u64)))?;
    narrator.row("took", &format!("{ms:.0} ms"))?;
    narrator.row("set root", &to_hex(head.set_root))?;
    narrator.row("log root", &to_hex(head.log_root))?;
    narrator.say("The set root depends on what is held, not on the order it came in.")?;
    if u64::try_from(appended) != Ok(head.count) {
        return Err(Failure::Demo { what: "the store does not count what was appended" });
    }
    let input = Input { files: lines.files, lines: lines.bodies.len() };
    Ok((input, Batch { appended, duplicates, ms, head: HeadStatus::from(&head) }))
}
