//! `CONTROL`: the Unix socket in the directory of a store, by which the node that has the store
//! open is controlled without a token. The mode of the file says by whom: its owner.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use stemedb::rpc::PeerAddress;

/// Its name.
const NAME: &str = "CONTROL";

/// The longest path of a socket, in bytes, with room for what systems differ in.
const PATH_LEN_MAX: usize = 100;

/// The control socket of a node that runs, removed when this is dropped.
#[derive(Debug)]
pub(super) struct ControlSocket {
    path: PathBuf,
    /// Device and inode: a directory that was renamed may have given way to another store's.
    file: (u64, u64),
}

impl ControlSocket {
    /// Makes it in the directory of a store, which this process has open: what an earlier node left
    /// there is replaced.
    pub(super) fn make(dir: &Path) -> io::Result<(Self, UnixListener)> {
        let path = dir.join(NAME);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => fs::remove_file(&path)?,
            Ok(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::AlreadyExists,
                    "there is a file of this name that is not a socket",
                ));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let short = Short::of(dir)?;
        let listener = UnixListener::bind(&short.path)?;
        // Until then other users could connect; `serve_control` refuses them.
        fs::set_permissions(&path, Permissions::from_mode(0o600))?;
        let found = fs::symlink_metadata(&path)?;
        Ok((Self { path, file: (found.dev(), found.ino()) }, listener))
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = |found: fs::Metadata| (found.dev(), found.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // One that is left behind is replaced by the next node.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The control socket of a node that has a store open.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it is, for people.
    pub(super) path: PathBuf,
    short: Short,
}

impl Found {
    /// The control socket in a directory; `None` if there is none, or no node listens on it.
    pub(super) fn of(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(NAME);
        let found = match fs::symlink_metadata(&path) {
            Ok(found) => found,
            Err(error) => return absent(error),
        };
        if !found.file_type().is_socket() {
            return Ok(None);
        }
        let short = Short::of(dir)?;
        match UnixStream::connect(&short.path) {
            Ok(_) => Ok(Some(Self { path, short })),
            Err(error) => absent(error),
        }
    }

    /// Where it is, for as long as this lives.
    pub(super) fn address(&self) -> PeerAddress {
        PeerAddress::unix(&self.short.path)
    }
}

/// Nothing for errors that say that there is nothing.
fn absent<T>(error: io::Error) -> io::Result<Option<T>> {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    match error.kind() {
        ConnectionRefused | NotADirectory | NotFound => Ok(None),
        _ => Err(error),
    }
}

/// A path to the socket that is short enough for one, and text.
#[derive(Debug)]
struct Short {
    path: String,
    /// Held open: the path may go through it.
    _dir: Option<File>,
}

impl Short {
    fn of(dir: &Path) -> io::Result<Self> {
        let path = dir.join(NAME);
        match path.to_str() {
            Some(path) if path.len() <= PATH_LEN_MAX => {
                Ok(Self { path: path.to_owned(), _dir: None })
            }
            _ => {
                let dir = File::open(dir)?;
                let path = format!("/proc/self/fd/{}/{NAME}", dir.as_raw_fd());
                Ok(Self { path, _dir: Some(dir) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(dir: &Path) -> u32 {
        fs::metadata(dir.join(NAME)).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_socket_is_found_while_it_is_listened_on() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Found::of(dir.path()).unwrap().is_none());
        assert!(Found::of(&dir.path().join("nowhere")).unwrap().is_none());
        let (socket, listener) = ControlSocket::make(dir.path()).unwrap();
        assert_eq!(mode(dir.path()), 0o600);
        let found = Found::of(dir.path()).unwrap().unwrap();
        let text = dir.path().join(NAME);
        assert_eq!(found.address().to_string(), format!("unix:{}", text.display()));
        // As after a crash. The link keeps the number of the inode from being given again.
        fs::hard_link(&text, dir.path().join("kept")).unwrap();
        drop(listener);
        assert!(Found::of(dir.path()).unwrap().is_none());
        let (again, _listener) = ControlSocket::make(dir.path()).unwrap();
        assert!(Found::of(dir.path()).unwrap().is_some());
        // What is no longer its own is left alone.
        drop(socket);
        assert!(Found::of(dir.path()).unwrap().is_some());
        drop(again);
        assert!(!text.exists());
    }

    #[test]
    fn a_long_path_is_reached_through_the_directory() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("x".repeat(200));
        fs::create_dir(&dir).unwrap();
        let (_socket, _listener) = ControlSocket::make(&dir).unwrap();
        assert_eq!(mode(&dir), 0o600);
        assert!(Found::of(&dir).unwrap().is_some());
    }

    #[test]
    fn a_file_of_another_kind_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), "somebody's").unwrap();
        let error = ControlSocket::make(dir.path()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(Found::of(dir.path()).unwrap().is_none());
        assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), b"somebody's");
    }
}
