//! `stemedb watch`: follows the log of a served store.

use std::io::Write;

use stemedb::LogIndex;
use stemedb::rpc::PeerAddress;
use stemedb::rpc::client::Watched;

use super::failure::{Failure, OutputError};
use super::log::{EntryFields, text_line};
use super::peer;
use super::signals::Signals;
use super::{Globals, input, output, range};

/// Follow the log of a served store: one line an entry, as soon as it is durable there
///
/// Each line tells index, time, id and length of the body. Goes on until Ctrl-C, also when the
/// server was away for a while. Ends with an error if the log there is another one then: its store
/// was restored from a copy, or replaced.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb watch 127.0.0.1:7845
  stemedb watch 127.0.0.1:7845 --first 0 --end
                                           What is there now, and no more

JSON, one line an entry: {index, time, ntp64, id, len}; an entry whose body was lost to damage \
has \"hole\": true besides.")]
pub(super) struct Args {
    /// The served store: HOST or HOST:PORT, with https:// before it for TLS
    #[arg(value_name = "PEER")]
    peer: PeerAddress,
    /// The first index to show; without it, what comes from now on
    #[arg(long, value_name = "I", value_parser = input::number)]
    first: Option<u64>,
    /// Stop after this index
    #[arg(long, value_name = "I", value_parser = input::number)]
    last: Option<u64>,
    /// What --first was called
    #[arg(long, hide = true, value_parser = range::no_beginning)]
    from: Option<u64>,
    /// What --last was called; the number behind the last one
    #[arg(long, hide = true, value_parser = range::no_end)]
    to: Option<u64>,
    /// Stop where the log ends now
    #[arg(long)]
    end: bool,
    #[command(flatten)]
    connection: peer::Connection,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    peer::runtime()?.block_on(async {
        let signals = Signals::watch()?;
        tokio::select! {
            ended = watch(args, globals.json) => ended,
            () = signals.stop() => Ok(()),
        }
    })
}

async fn watch(args: &Args, as_json: bool) -> Result<(), Failure> {
    let client = args.connection.connect(&args.peer).await?;
    let from = match args.first {
        Some(from) => LogIndex(from),
        None => client.head().await?.log_size.next_index(),
    };
    let mut watch = client.watch(Watched { from, stop_at_end: args.end, ..Watched::default() });
    let last = args.last.unwrap_or(u64::MAX);
    if from > LogIndex(last) {
        return Ok(());
    }
    while let Some(entry) = watch.next().await {
        let (entry, _) = entry?;
        let mut out = output::stdout();
        if as_json {
            output::json_line(&mut out, &EntryFields::from(&entry))?;
        } else {
            writeln!(out, "{}", text_line(&entry, 0)).map_err(OutputError)?;
        }
        output::finish(out)?;
        if entry.index.get() >= last {
            break;
        }
    }
    Ok(())
}
