//! `stemedb id`: the ids that bodies have, or would have.

use std::io::{BufWriter, StdoutLock};
use std::path::PathBuf;

use serde::Serialize;
use stemedb::AssertionId;

use super::body_id::BodyHasher;
use super::failure::{Failure, Origin};
use super::input::BODY_LEN_MAX;
use super::line_reader::LineReader;
use super::{Globals, output};

/// Print the id of each file, whether the store holds it or not
///
/// Each file is one body, as `append --whole` takes it: a line end at its end counts. With --lines
/// each line is one, as `append` takes them. Nothing is appended, and no store is needed; where
/// there is one that was made with a secret, the secret is.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb id photo.jpg
  printf 'the sky is blue' | stemedb id
  stemedb id --lines facts.nt
  stemedb get $(stemedb id photo.jpg) > copy.jpg

JSON, one line an id: {id, file}; file is - for standard input")]
pub(super) struct Args {
    /// Files to hash; - or none is standard input
    #[arg(value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    files: Vec<PathBuf>,
    /// Print the id of each line instead
    #[arg(long)]
    lines: bool,
}

pub(super) fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let hasher = BodyHasher::of_store(globals)?;
    let stdin = [PathBuf::from("-")];
    let files = if args.files.is_empty() { &stdin[..] } else { &args.files };
    let mut out = output::stdout();
    for file in files {
        let origin = Origin::of(file);
        let mut print = |id| print(&mut out, id, &origin, globals.json);
        if args.lines {
            let (end, is_text, len_max) = (b'\n', false, LINE_LEN_MAX);
            let reader = LineReader { origin: &origin, end, is_text, len_max };
            reader.each(|part| part.lines.iter().try_for_each(|line| print(hasher.id(line))))?;
        } else {
            print(hasher.id_of_file(file)?)?;
        }
    }
    output::finish(out)
}

#[derive(Serialize)]
struct Fields<'a> {
    id: String,
    file: std::borrow::Cow<'a, str>,
}

fn print(
    out: &mut BufWriter<StdoutLock<'static>>,
    id: AssertionId,
    origin: &Origin,
    as_json: bool,
) -> Result<(), Failure> {
    if as_json {
        let file = match origin {
            Origin::Stdin => "-".into(),
            Origin::File(path) => path.to_string_lossy(),
        };
        return output::json_line(out, &Fields { id: id.to_string(), file });
    }
    output::line(out, id)
}

/// The longest line, in bytes: longer ones are in no store.
const LINE_LEN_MAX: usize = BODY_LEN_MAX as usize;
