//! What a browser, a probe or anybody else may send to the HTTP port.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::OnceLock,
    time::Duration,
};

use super::http_node::Serving;

/// The longest answer that is read: all but lists are shorter, and those are cut here.
const READ_MAX: usize = 1 << 16;

/// A server for all inputs.
fn address() -> SocketAddr {
    static SERVING: OnceLock<Serving> = OnceLock::new();
    SERVING.get_or_init(|| Serving::start((0..50).map(|n| format!("body {n}")))).address
}

/// A request, and the empty line that ends its head: it gets an answer.
pub(crate) fn http(bytes: &[u8]) {
    // Empty lines before a request are skipped: this is none, and is waited for.
    if bytes.iter().all(|byte| b"\r\n".contains(byte)) {
        return;
    }
    let mut stream = TcpStream::connect(address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    // A server that has seen enough may close before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.write_all(b"\r\n\r\n");
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    while !answer.windows(4).any(|window| window == b"\r\n\r\n") && answer.len() < READ_MAX {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(len) => answer.extend(&part[..len]),
            // Closed with unread bytes of the request.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            // By a signal of the fuzzer.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => panic!("no answer: {error}"),
        }
    }
    // HTTP/2 is closed on; and where bytes are left unread, an answer may be lost on its way.
    if answer.is_empty() && (bytes.len() > 256 || find(bytes, b"PRI ")) {
        return;
    }
    let code = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let code = code.and_then(|code| core::str::from_utf8(code).ok()?.parse::<u16>().ok());
    let text = String::from_utf8_lossy(&answer);
    assert!(code.is_some_and(|code| (200..504).contains(&code)), "{text:?}");
    assert_ne!(code, Some(500), "{text:?}");
}

fn find(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}
