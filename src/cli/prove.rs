//! `stemedb prove`: a proof that an assertion is held, or is not.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Serialize;
use stemedb::{InternalError, ProofFile};

use super::body_id::BodyHasher;
use super::failure::Failure;
use super::input::{IdArg, to_hex};
use super::{Globals, files, open, output, peer, proof_file};

/// Prove that the store holds an assertion, or that it does not
///
/// Writes a proof file that anybody can check against the store's set root with
/// `stemedb verify`, without the store. Both proofs are a success: standard error says which of
/// them it is. To prove that an id is absent give all its 64 digits.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").args(["id", "body"]).required(true), after_help = "\
Examples:
  stemedb prove 88538fbb -o sky.stemedb-proof
  stemedb prove 88538fbb --from 127.0.0.1:7845
  stemedb prove --body photo.jpg -o photo.stemedb-proof
  printf 'the sky is green' | stemedb prove --body - | stemedb verify - --root HEX --absent

JSON: {id, present, count, set_root, siblings, file, proof}; siblings is their number, file is \
where -o wrote to or null, proof is the text of the proof file")]
pub(super) struct Args {
    /// The id: 64 hex digits, or the first 4 or more of one that is held
    #[arg(value_name = "ID", value_parser = IdArg::parse)]
    id: Option<IdArg>,
    /// The file whose bytes are the body, instead of its id; - is standard input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    body: Option<PathBuf>,
    /// Write the proof file here instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    read: peer::ReadFrom,
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
    let id = args.id(globals)?;
    let file = match args.read.connect()? {
        Some(remote) => prove_there(&remote, &id)?,
        None => open::reading(globals, |store| Ok(store.prove(&id.resolve(store)?)?.into()))?,
    };
    write(&file, args, globals)
}

/// A proof of a served store, checked against the root that it comes with.
fn prove_there(remote: &peer::Remote, id: &IdArg) -> Result<ProofFile, Failure> {
    let id = match id {
        IdArg::Whole(id) => *id,
        IdArg::Prefix(_) => remote.find(&id.into())?.id,
    };
    let (proof, root) = remote.wait(remote.client.prove(&id))?;
    Ok(ProofFile { proof, root })
}

impl Args {
    /// The id that is named, or that of the body that is.
    fn id(&self, globals: &Globals) -> Result<IdArg, Failure> {
        match (&self.id, &self.body) {
            (Some(id), _) => Ok(id.clone()),
            (None, Some(body)) => {
                let hasher = if self.read.is_remote() {
                    BodyHasher::without_store(globals)?
                } else {
                    BodyHasher::of_store(globals)?
                };
                Ok(IdArg::Whole(hasher.id_of_file(body)?))
            }
            (None, None) => Err(InternalError::new("the id to prove").into()),
        }
    }
}

fn write(file: &ProofFile, args: &Args, globals: &Globals) -> Result<(), Failure> {
    let (text, present) = (file.write(), proof_file::claims_presence(file));
    let id = to_hex(file.proof.id);
    if let Some(path) = &args.output {
        files::write("write the proof", path, text.as_bytes())?;
    }
    if !globals.json {
        output::stderr(&format!("{} {id}\n", if present { "present" } else { "absent" }));
    }
    if globals.json {
        return output::json(&Fields {
            id,
            present,
            count: file.proof.count,
            set_root: to_hex(file.root),
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
