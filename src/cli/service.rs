//! Messages to a service manager: the protocol of `sd_notify(3)`, a datagram each.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixDatagram;

/// The variable that says where the service manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";

/// Something that a service manager wants to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Clients can be served.
    Ready,
    /// It ends.
    Stopping,
}

/// Tells the service manager, if there is one that asked.
pub(super) fn notify(state: State) {
    let message: &[u8] = match state {
        State::Ready => b"READY=1\n",
        State::Stopping => b"STOPPING=1\n",
    };
    let Some(socket) = std::env::var_os(SOCKET).filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, message) {
        tracing::warn!(%error, "the service manager can't be told {state:?}");
    }
}

fn send(socket: &OsStr, message: &[u8]) -> io::Result<()> {
    let ours = UnixDatagram::unbound()?;
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.as_bytes().strip_prefix(b"@") {
        use std::os::{linux::net::SocketAddrExt as _, unix::net::SocketAddr};
        return ours.send_to_addr(message, &SocketAddr::from_abstract_name(name)?).map(drop);
    }
    ours.send_to(message, socket).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_arrives_as_one_datagram() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), b"READY=1\n").unwrap();
        let mut buffer = [0; 64];
        let len = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"READY=1\n");
        drop(manager);
        assert!(send(path.as_os_str(), b"READY=1\n").is_err());
    }
}
