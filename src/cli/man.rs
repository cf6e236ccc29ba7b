//! `stemedb man`: manual pages.

use std::fs;
use std::path::{Path, PathBuf};

use clap_mangen::Man;

use super::failure::Failure;
use super::{command, output};

/// Print the manual page, or write those of all commands
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  stemedb man > stemedb.1
  stemedb man --out ~/.local/share/man/man1")]
pub(super) struct Args {
    /// Write a page for each command to this directory, which is made where it is missing
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    if let Some(dir) = &args.out {
        let failed = |source| file_error(dir, source);
        fs::create_dir_all(dir).map_err(failed)?;
        return clap_mangen::generate_to(command(), dir).map_err(failed);
    }
    let mut page = Vec::new();
    let rendered = Man::new(command()).render(&mut page);
    rendered.map_err(|source| file_error(Path::new("stemedb.1"), source))?;
    output::raw(&page)
}

fn file_error(path: &Path, source: std::io::Error) -> Failure {
    Failure::File { action: "write the manual pages", path: path.to_path_buf(), source }
}
