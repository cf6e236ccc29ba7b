//! stemedb beside published crates and the machine's own limits.
//!
//! Every measure runs its contenders alternately in one process, several rounds of them, and
//! compares medians: a figure from another hour of a shared machine proves nothing.

mod body;
mod contest;
mod cpu;
mod differing;
mod heap;
mod latency;
mod limit;
mod machine;
mod measure;
mod ours;
mod peer;
mod plot;
mod proxy;
mod report;
mod setting;
mod table;
mod tasks;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::setting::Setting;

/// Whatever went wrong: a benchmark reports it and goes on with the next contender.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[global_allocator]
static HEAP: heap::CountingAllocator = heap::CountingAllocator;

/// Measures stemedb beside published crates and the machine's limits, in the same run.
#[derive(Debug, Parser)]
#[command(name = "stemedb-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the measures and prints a table.
    ///
    /// A full run takes about two hours and 60 GB of disk:
    ///
    ///     cargo run --release -- run --write ../docs/benchmarks.md
    ///
    /// A smoke run of one measure takes seconds:
    ///
    ///     cargo run --release -- run --quick --only durable-append
    #[command(verbatim_doc_comment)]
    Run(RunArguments),
    /// Lists the measures.
    List,
    /// Opens a store, waits until it is idle, and prints how many bytes of its heap and of mapped
    /// files are resident in memory.
    #[command(hide = true)]
    Idle { dir: PathBuf },
}

#[derive(Debug, clap::Args)]
struct RunArguments {
    /// A tenth of the size and the time: shows that everything runs, its figures prove nothing.
    #[arg(long)]
    quick: bool,
    /// A million vectors where there are a hundred thousand otherwise: 25 GB of disk more.
    #[arg(long)]
    full: bool,
    /// Only the measures whose name begins so; may be repeated.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Rounds of each measure, instead of its own number.
    #[arg(long)]
    rounds: Option<usize>,
    /// Where the stores are made. Prepared ones stay there for the next run.
    #[arg(long, value_name = "DIR", default_value_os_t = default_dir())]
    dir: PathBuf,
    /// Writes the results as Markdown.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn default_dir() -> PathBuf {
    std::env::temp_dir().join("stemedb-bench")
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::List => {
            for measure in measure::ALL {
                println!("{:<20} {}", measure.name, measure.about);
            }
            Ok(())
        }
        Command::Run(arguments) => run(&arguments),
        Command::Idle { dir } => ours::growth::idle(&dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &RunArguments) -> Result<(), Failure> {
    std::fs::create_dir_all(&arguments.dir)?;
    let setting = Setting::new(&arguments.dir, arguments.quick, arguments.full, arguments.rounds);
    let machine = machine::Machine::read(&arguments.dir);
    println!("{machine}");
    let chosen = |name: &str| {
        arguments.only.is_empty() || arguments.only.iter().any(|only| name.starts_with(only))
    };
    let mut outcomes = Vec::new();
    for measure in measure::ALL.iter().filter(|measure| chosen(measure.name)) {
        eprintln!("== {}: {}", measure.name, measure.about);
        let outcome = (measure.prepare)(&setting)?.run(measure, &setting);
        print!("{}", table::Figures(&outcome));
        outcomes.push(outcome);
        setting.clean()?;
    }
    print!("{}", table::Goals(&outcomes));
    if let Some(path) = &arguments.write {
        report::write(path, &machine, arguments.quick, &outcomes)?;
        eprintln!("wrote {}", path.display());
    }
    Ok(())
}
