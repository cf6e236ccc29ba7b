//! `stemedb init`: makes a store.

use std::borrow::Cow;

use serde::Serialize;
use stemedb::Store;

use super::failure::Failure;
use super::{Globals, open, output};

/// Make a store
///
/// `append` makes one too where there is none. A store made with --secret-file names its
/// assertions by keyed hashes, so that ids tell nothing about bodies to those who lack the secret;
/// the store remembers that a secret is needed, never the secret: keep the file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb init
  stemedb init --store /var/lib/audit
  head -c 32 /dev/urandom > secret && stemedb init --secret-file secret

JSON: {store, secret}")]
pub(super) struct Args {
    /// Make the store in a directory that holds other files; none of them is touched
    #[arg(long)]
    force: bool,
}

#[derive(Serialize)]
struct Made<'a> {
    store: Cow<'a, str>,
    secret: bool,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let options = open::options(globals)?.create(true).create_among_files(args.force);
    if Store::exists(&globals.store)? {
        return Err(Failure::StoreExists { dir: globals.store.clone() });
    }
    let secret = options.secret.is_some();
    open::open(&globals.store, options)?.close()?;
    if globals.json {
        return output::json(&Made { store: globals.store.to_string_lossy(), secret });
    }
    let remark = if secret { ", which its secret is needed to use" } else { "" };
    output::raw(format!("made a store at {}{remark}\n", globals.store.display()).as_bytes())
}
