//! A process is killed while it appends; whatever it acknowledged is there afterwards.
//!
//! ```sh
//! cargo run --example crash_recovery
//! ```
//!
//! The program starts itself as a child that appends without end and prints each id once it is
//! durable, kills the child in the midst of that (SIGKILL on Unix: no chance to clean up), and
//! opens the store.

use std::{
    env,
    error::Error,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
};

use stemedb::{AssertionId, Options, Store};

/// The child is killed once it has acknowledged so many.
const ACKNOWLEDGED_ENOUGH: usize = 2_000;

/// So many are appended together.
const BATCH_LEN: u64 = 20;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    match env::args_os().nth(1) {
        Some(dir) => append_without_end(Path::new(&dir)),
        None => kill_and_reopen(),
    }
}

/// The child.
fn append_without_end(dir: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let store = Store::open(dir, Options::default())?;
    let mut output = io::stdout().lock();
    for batch in 0_u64.. {
        let bodies = (0..BATCH_LEN).map(|n| format!("reading {}", batch * BATCH_LEN + n));
        for receipt in store.append_batch(bodies)? {
            writeln!(output, "{}", receipt.id)?;
        }
        output.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The parent.
fn kill_and_reopen() -> Result<ExitCode, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut child = Command::new(env::current_exe()?)
        .arg(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let acknowledged = read_and_kill(&mut child);
    // Whatever came of reading, nothing is left running.
    let _ = child.kill();
    let status = child.wait()?;
    let acknowledged = acknowledged?;
    println!("killed    {status}, after {} acknowledgements", acknowledged.len());
    assert!(acknowledged.len() >= ACKNOWLEDGED_ENOUGH, "the child ended by itself");

    let store = Store::open(dir.path(), Options::default().create(false))?;
    for remark in &store.open_report().remarks {
        println!("it says   {remark}");
    }
    let mut lost = 0;
    for id in &acknowledged {
        lost += usize::from(store.get(id)?.is_none());
    }
    let head = store.head()?;
    println!("reopened  {} assertions, {lost} of the acknowledged ones lost", head.count);
    println!("set root  {}", head.set_root);
    store.append(b"and on it goes")?;
    store.close()?;
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reads what the child acknowledges up to its last moment: what is in the pipe when it dies still
/// counts, but not a line that the kill cut off.
fn read_and_kill(child: &mut Child) -> Result<Vec<AssertionId>, Box<dyn Error>> {
    let mut output = BufReader::new(child.stdout.take().ok_or("the child has no output")?);
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    while output.read_line(&mut line)? > 0 && line.ends_with('\n') {
        acknowledged.push(line.trim_end().parse()?);
        if acknowledged.len() == ACKNOWLEDGED_ENOUGH {
            child.kill()?;
        }
        line.clear();
    }
    Ok(acknowledged)
}
