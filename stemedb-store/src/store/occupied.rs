//! What is in the way of something that is made in a directory of its own.

use std::io;

use stemedb_wal::disk::Disk;

/// The names of all that lies in a directory, subdirectories included, but for what others put into
/// any: names that begin with a dot, and `lost+found`.
///
/// # Errors
///
/// If the directory cannot be listed.
pub fn occupants(disk: &dyn Disk) -> io::Result<Vec<String>> {
    let names = disk.list_all()?.into_iter().map(|name| name.to_string_lossy().into_owned());
    Ok(names.filter(|name| !name.starts_with('.') && name != "lost+found").collect())
}
