//! `stemedb verify`: checks a proof file without a store.

use std::path::{Path, PathBuf};

use serde::Serialize;
use stemedb::{AssertionId, Presence, Root};

use super::body_id::BodyHasher;
use super::failure::Failure;
use super::input::{self, to_hex};
use super::{Globals, output, proof_file};

/// Check a proof file against a root that you trust already; no store is needed
///
/// Prints `present ID` or `absent ID` if the proof verifies. Exit code 0 only if it does and is
/// what was asked for, 3 if not, 2 if the file is no proof file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb verify sky.stemedb-proof --root HEX
  stemedb verify sky.stemedb-proof --root HEX --id ID     Fail on a proof about another id
  stemedb verify photo.stemedb-proof --root HEX --body photo.jpg --present
                                           Fail unless it proves that this very file is held
  stemedb prove ID | stemedb verify - --root HEX

JSON: {verified, id, present, count, set_root}; id, count and present are what the file claims \
when verified is false")]
pub(super) struct Args {
    /// The proof file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The set root that you trust: 64 hex digits
    #[arg(long, value_name = "HEX", value_parser = input::root)]
    root: Root,
    /// Demand that the proof is about this assertion: 64 hex digits
    #[arg(long, value_name = "ID", value_parser = input::whole_id)]
    id: Option<AssertionId>,
    /// Demand that the proof is about the body that this file holds; - is standard input. It takes
    /// --secret-file if ids are made with a secret
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "id",
        value_hint = clap::ValueHint::FilePath
    )]
    body: Option<PathBuf>,
    /// Demand that the assertion is held
    #[arg(long, conflicts_with = "absent")]
    present: bool,
    /// Demand that the assertion is not held
    #[arg(long)]
    absent: bool,
}

#[derive(Serialize)]
struct Fields {
    verified: bool,
    id: String,
    present: bool,
    count: u64,
    set_root: String,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    if args.body.as_deref() == Some(Path::new("-")) && args.file == Path::new("-") {
        return Err(Failure::StdinTwice);
    }
    let body = match &args.body {
        Some(body) => Some(BodyHasher::without_store(globals)?.id_of_file(body)?),
        None => None,
    };
    let (origin, file) = proof_file::read(&args.file)?;
    let verdict = proof_file::verify(&file, &args.root);
    let present = proof_file::claims_presence(&file);
    let claimed = if present { "present" } else { "absent" };
    let id = AssertionId(file.proof.id);
    if globals.json {
        output::json(&Fields {
            verified: verdict.is_ok(),
            id: id.to_string(),
            present,
            count: file.proof.count,
            set_root: to_hex(args.root),
        })?;
    } else if verdict.is_ok() {
        output::raw(format!("{claimed} {id}\n").as_bytes())?;
    }
    let asked = args.id.or(body).filter(|asked| *asked != id);
    match verdict {
        Ok(_) if let Some(asked) = asked => Err(Failure::OtherId { origin, found: id, asked }),
        Err(source) => Err(Failure::NotVerified { origin, root: to_hex(args.root), source }),
        Ok(Presence::Present) if args.absent => {
            Err(Failure::OtherThanAsked { origin, id, found: "present", asked: "absent" })
        }
        Ok(Presence::Absent) if args.present => {
            Err(Failure::OtherThanAsked { origin, id, found: "absent", asked: "present" })
        }
        Ok(_) => Ok(()),
    }
}
