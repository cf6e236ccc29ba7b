//! Bodies written to files of their own, named by their ids.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use stemedb::AssertionId;
use tempfile::Builder;

use super::failure::Failure;

/// A directory that takes bodies.
#[derive(Debug)]
pub(super) struct BodyFiles {
    dir: PathBuf,
}

impl BodyFiles {
    /// The directory, made where it is missing.
    pub(super) fn in_dir(dir: &Path) -> Result<Self, Failure> {
        let failed = |source| file_error("make the directory", dir, source);
        fs::create_dir_all(dir).map_err(failed)?;
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// Writes a body. The file is there whole or not at all, and replaces one of the same name,
    /// which has the same bytes unless somebody changed it.
    pub(super) fn write(&self, id: &AssertionId, body: &[u8]) -> Result<PathBuf, Failure> {
        let path = self.dir.join(id.to_string());
        self.place(&path, body).map_err(|source| file_error("write the body", &path, source))?;
        Ok(path)
    }

    fn place(&self, path: &Path, body: &[u8]) -> io::Result<()> {
        let mut builder = Builder::new();
        builder.prefix(".stemedb-").permissions(mode());
        let mut file = builder.tempfile_in(&self.dir)?;
        file.write_all(body)?;
        // A name of a file that is not on the disk yet would survive a power cut without it.
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }
}

/// What a new file may be used for, before the user's mask: temporary ones are private otherwise.
fn mode() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> Failure {
    Failure::File { action, path: path.to_path_buf(), source }
}
