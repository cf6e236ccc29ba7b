//! The command line: what is parsed, and which file carries it out.

mod advice;
mod append;
mod archive;
mod backup;
mod body_id;
mod check;
mod checkpoint;
mod completions;
#[cfg(feature = "zstd")]
mod compress;
mod config;
mod control;
mod control_socket;
mod decimal;
mod demo;
mod diff;
mod export;
mod failure;
mod file_watch;
mod files;
mod flags;
mod format;
mod get;
mod history;
mod id;
mod ids;
mod init;
mod input;
mod line_reader;
mod lines;
mod log;
mod logging;
mod man;
mod node;
mod open;
mod output;
mod peer;
mod peers;
mod picture;
mod plain;
mod process;
mod progress;
mod proof_file;
mod prove;
mod range;
mod repair;
mod restore;
mod root;
mod scrub;
mod secret;
mod serve;
mod service;
mod signals;
mod stats;
mod status;
mod stopwatch;
mod sync;
mod timestamp;
mod verify;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use failure::{Exit, Failure};

/// The log that two machines can compare.
///
/// A store holds assertions: byte strings named by their hash. Every append is durable before it
/// is acknowledged, and the store has a root that proves what it holds.
#[derive(Debug, Parser)]
#[command(name = "stemedb", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  stemedb demo                              See everything at work, in a few seconds
  echo 'the sky is blue' | stemedb append   Append a line, durably
  stemedb root                              Show what the store commits to
  stemedb log --limit 10                    List the first entries
  stemedb prove 88538fbb -o sky.stemedb-proof
                                            Prove that an assertion is held, or is not
  stemedb verify sky.stemedb-proof --root HEX
                                            Check a proof, without a store
  stemedb serve                             Let others reach the store
  stemedb sync 127.0.0.1:7845               Bring the store and a served one into step
  stemedb node --join db.example.org        Serve, and stay in step with a whole cluster
  stemedb status                            See how the node on this machine is doing

Exit codes:
  0 done   1 failed   2 wrong usage   3 damaged or not verified   4 not found
  5 done, and the answer is no   70 a fault of the program

Results go to standard output, all else to standard error. With --json a result is one line of \
JSON (of `log`: one line an entry), and so is each message on standard error: {error, exit_code}, \
or {note}. Numbers that can pass 2^53 (ntp64, positions, counts of bytes) are decimal strings.";

/// Flags that every command takes, before or after its name.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of all commands")]
struct Globals {
    /// The store's directory
    #[arg(
        long,
        global = true,
        env = "STEMEDB_STORE",
        default_value = ".stemedb",
        value_name = "DIR",
        value_hint = clap::ValueHint::DirPath
    )]
    store: PathBuf,
    /// Print results as one line of JSON
    #[arg(long, global = true)]
    json: bool,
    /// The file with the secret that the store was made with: its bytes without one trailing
    /// LF or CRLF, 16 or more
    #[arg(long, global = true, env = "STEMEDB_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// How long a command that writes waits for another process that has the store open; with 0 it
    /// fails at once. Commands that only read wait for nobody
    #[arg(long, global = true, value_name = "T", default_value = "5s", value_parser = input::wait)]
    wait: Duration,
    /// The archive that bodies are read from which are not on this machine any more:
    /// a bucket or a directory, as `stemedb archive --help` says
    #[arg(
        id = "archive.url",
        long = "archive",
        global = true,
        env = "STEMEDB_ARCHIVE__URL",
        value_name = "URL"
    )]
    archive: Option<String>,
    /// Compress segments of the log once they are sealed, beside the work. Only builds with the
    /// feature zstd open the store from then on
    #[cfg(feature = "zstd")]
    #[arg(long, global = true)]
    compress: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Args),
    Append(append::Args),
    Get(get::Args),
    Id(id::Args),
    Export(export::Args),
    Log(log::Args),
    Root(root::Args),
    Ids(ids::Args),
    Prove(prove::Args),
    History(history::Args),
    Verify(verify::Args),
    Diff(diff::Args),
    Serve(serve::Args),
    Sync(sync::Args),
    Watch(watch::Args),
    Node(Box<node::Args>),
    Config(Box<config::Args>),
    Status(status::Args),
    Peers(peers::Args),
    Pause(control::Pause),
    Resume(control::Resume),
    #[command(alias = "trigger")]
    SyncNow(control::SyncNow),
    Forget(control::Forget),
    Reload(control::Reload),
    Checkpoint(checkpoint::Args),
    #[cfg(feature = "zstd")]
    Compress(compress::Args),
    Check(check::Args),
    Repair(repair::Args),
    Archive(archive::Args),
    Backup(backup::Args),
    Restore(restore::Args),
    Scrub(scrub::Args),
    Stats(stats::Args),
    Demo(demo::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Exit code after a fault of the program.
pub(crate) const INTERNAL: u8 = Exit::Internal as u8;

/// Parses the arguments of this process and does what they say.
pub(crate) fn run() -> ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() && is_json_asked_for() => {
            output::usage_error(&error);
            return Exit::Usage.into();
        }
        Err(error) => {
            // Help is asked for and usage errors are not, but both are printed; if they cannot be,
            // the exit code is all there is to say.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { ExitCode::SUCCESS };
        }
    };
    process::prepare();
    output::set_json(cli.globals.json);
    match dispatch(&cli.command, &cli.globals) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_quiet() => ExitCode::SUCCESS,
        // What it printed is the answer.
        Err(failure @ Failure::Differs) => failure.exit().into(),
        Err(failure) => {
            output::error(&failure);
            failure.exit().into()
        }
    }
}

fn parse() -> Result<Cli, clap::Error> {
    let matches = command().try_get_matches()?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command()))
}

/// The command line: each command shows those of the options of all commands that mean something to
/// it.
fn command() -> clap::Command {
    let command = Cli::command();
    let globals: Vec<Arg> =
        command.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.iter().fold(command, |command, name| {
        command.mut_subcommand(name, |sub| {
            let unused = globals.iter().filter(|arg| !is_used(name, arg.get_id().as_str()));
            // A script may give them to any command, so they are taken.
            sub.args(unused.map(|arg| arg.clone().hide(true)))
        })
    })
}

/// Whether a command does anything with an option of all commands.
fn is_used(command: &str, option: &str) -> bool {
    match option {
        "json" => !matches!(command, "completions" | "man" | "node" | "serve"),
        "store" => !matches!(command, "completions" | "man" | "demo" | "verify"),
        // Those that hash bodies; others open a store with a secret without it.
        "secret_file" => !matches!(
            command,
            "completions"
                | "man"
                | "demo"
                | "ids"
                | "log"
                | "root"
                | "stats"
                | "status"
                | "peers"
                | "pause"
                | "resume"
                | "sync-now"
                | "forget"
                | "reload"
                | "history"
                | "watch"
        ),
        // Those that open a store to write it.
        "wait" => matches!(
            command,
            "append"
                | "archive"
                | "checkpoint"
                | "compress"
                | "init"
                | "node"
                | "repair"
                | "restore"
                | "scrub"
                | "serve"
                | "sync"
        ),
        // Those that run for a while, or append much.
        "compress" => matches!(command, "append" | "node" | "serve" | "sync"),
        // Those that read bodies.
        "archive.url" => matches!(
            command,
            "append"
                | "get"
                | "export"
                | "serve"
                | "sync"
                | "diff"
                | "node"
                | "config"
                | "check"
                | "repair"
                | "backup"
                | "scrub"
        ),
        _ => true,
    }
}

/// Whether --json is among the arguments, where they could not be parsed.
fn is_json_asked_for() -> bool {
    std::env::args_os()
        .skip(1)
        .take_while(|argument| argument != "--")
        .any(|argument| argument == "--json")
}

fn dispatch(command: &Command, globals: &Globals) -> Result<(), Failure> {
    match command {
        Command::Init(args) => init::run(args, globals),
        Command::Append(args) => append::run(args, globals),
        Command::Get(args) => get::run(args, globals),
        Command::Id(args) => id::run(args, globals),
        Command::Export(args) => export::run(args, globals),
        Command::Log(args) => log::run(args, globals),
        Command::Root(args) => root::run(args, globals),
        Command::Ids(args) => ids::run(args, globals),
        Command::Prove(args) => prove::run(args, globals),
        Command::History(args) => history::run(args, globals),
        Command::Verify(args) => verify::run(args, globals),
        Command::Diff(args) => diff::run(args, globals),
        Command::Serve(args) => serve::run(args, globals),
        Command::Sync(args) => sync::run(args, globals),
        Command::Watch(args) => watch::run(args, globals),
        Command::Node(args) => node::run(args, globals),
        Command::Config(args) => config::run(args, globals),
        Command::Status(args) => status::run(args, globals),
        Command::Peers(args) => peers::run(args, globals),
        Command::Pause(args) => control::pause(args, globals),
        Command::Resume(args) => control::resume(args, globals),
        Command::SyncNow(args) => control::sync_now(args, globals),
        Command::Forget(args) => control::forget(args, globals),
        Command::Reload(args) => control::reload(args, globals),
        Command::Checkpoint(args) => checkpoint::run(args, globals),
        #[cfg(feature = "zstd")]
        Command::Compress(args) => compress::run(args, globals),
        Command::Check(args) => check::run(args, globals),
        Command::Repair(args) => repair::run(args, globals),
        Command::Archive(args) => archive::run(args, globals),
        Command::Backup(args) => backup::run(args, globals),
        Command::Restore(args) => restore::run(args, globals),
        Command::Scrub(args) => scrub::run(args, globals),
        Command::Stats(args) => stats::run(args, globals),
        Command::Demo(args) => demo::run(args, globals),
        Command::Completions(args) => completions::run(args),
        Command::Man(args) => man::run(args),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_commands_are_well_formed() {
        super::command().debug_assert();
    }
}
