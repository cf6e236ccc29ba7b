//! `stemedb prove`: a proof that an assertion is held, or is not.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use stemedb::{ProofFile, Store};

use super::failure::Failure;
use super::input::{IdArg, to_hex};
use super::{Globals, open, output, proof_file};

/// Prove that the store holds an assertion, or that it does not
///
/// Writes a proof file that anybody can check against the store's set root with
/// `stemedb verify`, without the store. Both proofs are a success: standard error says which of
/// them it is. To prove that an id is absent give all its 64 digits.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb prove 2a0f9c31 -o sky.stemedb-proof
  stemedb prove $(printf 'the sky is green' | b3sum --no-names) | stemedb verify - --root HEX

JSON: {id, present, count, set_root, siblings, file, proof}; siblings is their number, file is \
where -o wrote to or null, proof is the text of the proof file")]
pub(super) struct Args {
    /// The id: 64 lowercase hex digits, or the first 8 or more of one that is held
    #[arg(value_name = "ID", value_parser = IdArg::parse)]
    id: IdArg,
    /// Write the proof file here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Fields<'a> {
    id: String,
    present: bool,
    count: u64,
    set_root: String,
    siblings: usize,
    file: Option<Cow<'a, str>>,
    proof: String,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let file = open::reading(globals, |store| prove(store, args))?;
    let (text, present) = (file.write(), proof_file::claims_presence(&file));
    let id = to_hex(&file.proof.id);
    if let Some(path) = &args.output {
        fs::write(path, &text).map_err(|source| Failure::File {
            action: "write the proof",
            path: path.clone(),
            source,
        })?;
    }
    output::stderr(&format!("{} {id}\n", if present { "present" } else { "absent" }));
    if globals.json {
        return output::json(&Fields {
            id,
            present,
            count: file.proof.count,
            set_root: to_hex(&file.root),
            siblings: file.proof.siblings.len(),
            file: args.output.as_ref().map(|path| path.to_string_lossy()),
            proof: text,
        });
    }
    if args.output.is_none() {
        return output::raw(text.as_bytes());
    }
    Ok(())
}

fn prove(store: &Store, args: &Args) -> Result<ProofFile, Failure> {
    let id = args.id.resolve(store)?;
    Ok(store.prove(&id)?.into())
}
