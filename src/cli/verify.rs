//! `stemedb verify`: checks a proof file without a store.

use std::path::PathBuf;

use serde::Serialize;
use stemedb::{AssertionId, Presence, Root};

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
  stemedb verify sky.stemedb-proof --root HEX --present   Fail on a proof of absence
  stemedb prove ID | stemedb verify - --root HEX

JSON: {verified, id, present, count, set_root}; id, count and present are what the file claims \
when verified is false")]
pub(super) struct Args {
    /// The proof file; - is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The set root that you trust: 64 lowercase hex digits
    #[arg(long, value_name = "HEX", value_parser = input::root)]
    root: Root,
    /// Demand that the proof is about this assertion: 64 lowercase hex digits
    #[arg(long, value_name = "ID", value_parser = input::whole_id)]
    id: Option<AssertionId>,
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
            set_root: to_hex(&args.root),
        })?;
    } else if verdict.is_ok() {
        output::raw(format!("{claimed} {id}\n").as_bytes())?;
    }
    let asked = args.id.filter(|asked| *asked != id);
    match verdict {
        Ok(_) if let Some(asked) = asked => Err(Failure::OtherId { origin, found: id, asked }),
        Err(source) => Err(Failure::NotVerified { origin, root: to_hex(&args.root), source }),
        Ok(Presence::Present) if args.absent => {
            Err(Failure::OtherThanAsked { origin, id, found: "present", asked: "absent" })
        }
        Ok(Presence::Absent) if args.present => {
            Err(Failure::OtherThanAsked { origin, id, found: "absent", asked: "present" })
        }
        Ok(_) => Ok(()),
    }
}
