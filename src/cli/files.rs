//! Files that are written: whole or not at all.

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
        place(&path, body).map_err(|source| file_error("write the body", &path, source))?;
        Ok(path)
    }
}

/// Writes a file that the arguments name: whole or not at all, unless it is a pipe or a device.
pub(super) fn write(action: &'static str, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let written = match fs::metadata(path) {
        Ok(found) if !found.is_file() => fs::write(path, bytes),
        // What a link points to is replaced, and not the link.
        Ok(_) => fs::canonicalize(path).and_then(|path| place(&path, bytes)),
        Err(_) => place(path, bytes),
    };
    written.map_err(|source| file_error(action, path, source))
}

/// Puts a file in its place once it is on the disk.
fn place(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or_else(|| Path::new("."));
    let mut builder = Builder::new();
    builder.prefix(".stemedb-").permissions(mode());
    let mut file = builder.tempfile_in(dir)?;
    file.write_all(bytes)?;
    // A name of a file that is not on the disk yet would survive a power cut without it.
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// What a new file may be used for, before the user's mask: temporary ones are private otherwise.
fn mode() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> Failure {
    Failure::File { action, path: path.to_path_buf(), source }
}
