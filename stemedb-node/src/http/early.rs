//! Answers while the clock stands before 1970.
//!
//! The HTTP library formats the date of each answer by itself, and panics where there is no such
//! date. Until the clock is right a connection gets one answer, by HTTP/1.0 (RFC 1945) and without
//! a date, and ends with it.

use std::io::{self, Write as _};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderName, HeaderValue, Method, StatusCode, request},
    response::Response,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;
use tower_service::Service as _;

use super::places::Caller;
use stemedb_store::store::ENVIRONMENT;

/// Bytes of the head of a request.
const HEAD_LEN_MAX: usize = 64 << 10;
/// Header fields of a request.
const FIELDS_MAX: usize = 64;

/// Whether the clock stands before 1970.
pub(super) fn is_early() -> bool {
    (ENVIRONMENT.clock)().0 == 0
}

/// Answers one request, and closes the stream.
pub(super) async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    caller: Caller,
    mut router: Router,
) -> io::Result<()> {
    let Some(request) = read(&mut stream).await? else {
        return stream.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n").await;
    };
    let mut request = Request::from_parts(request, Body::empty());
    let only_head = request.method() == Method::HEAD;
    request.extensions_mut().insert(caller);
    let Ok(response) = router.call(request).await;
    write(&mut stream, response, only_head).await?;
    stream.shutdown().await
}

/// The head of the request; `None` if it is none.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<request::Parts>> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 || bytes.len() > HEAD_LEN_MAX {
            return Ok(None);
        }
        match parse(&bytes) {
            Ok(Some(head)) => return Ok(Some(head)),
            Ok(None) => {}
            Err(Malformed) => return Ok(None),
        }
    }
}

struct Malformed;

/// The head of a request; `None` where it is not whole.
fn parse(bytes: &[u8]) -> Result<Option<request::Parts>, Malformed> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut head = httparse::Request::new(&mut fields);
    if head.parse(bytes).map_err(|_| Malformed)?.is_partial() {
        return Ok(None);
    }
    let (Some(method), Some(path)) = (head.method, head.path) else { return Err(Malformed) };
    let mut request = Request::builder().method(method).uri(path);
    for field in head.headers.iter() {
        request = request.header(field.name, field.value);
    }
    let (head, ()) = request.body(()).map_err(|_| Malformed)?.into_parts();
    Ok(Some(head))
}

async fn write(
    stream: &mut (impl AsyncWrite + Unpin),
    response: Response,
    only_head: bool,
) -> io::Result<()> {
    let (head, body) = response.into_parts();
    stream.write_all(&head_bytes(head.status, head.headers.iter())?).await?;
    let mut parts = body.into_data_stream();
    while !only_head && let Some(part) = parts.next().await {
        stream.write_all(&part.map_err(io::Error::other)?).await?;
    }
    Ok(())
}

fn head_bytes<'a>(
    status: StatusCode,
    fields: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write!(bytes, "HTTP/1.0 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or(""))?;
    for (name, value) in fields {
        write!(bytes, "{name}: ")?;
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_once_it_is_whole() {
        let text = b"GET /livez?a=b HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n";
        for len in 0..text.len() {
            assert!(matches!(parse(&text[..len]), Ok(None)), "cut to {len}");
        }
        let Ok(Some(head)) = parse(text) else { panic!("not read") };
        assert_eq!((head.method, head.uri.to_string()), (Method::GET, "/livez?a=b".to_owned()));
        assert_eq!((head.headers.len(), head.headers["host"].as_bytes()), (2, &b"x"[..]));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(FIELDS_MAX + 1));
        for bytes in [&b"\x16\x03\x01"[..], b"GET / HTTP/9.9\r\n\r\n", b"G\0T / HTTP/1.1\r\n\r\n"] {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(parse(many.as_bytes()).is_err());
    }

    #[test]
    fn the_bytes_of_a_head() {
        let fields = [(HeaderName::from_static("a"), HeaderValue::from_static("b"))];
        let bytes = head_bytes(StatusCode::OK, fields.iter().map(|(name, value)| (name, value)));
        assert_eq!(bytes.unwrap(), b"HTTP/1.0 200 OK\r\na: b\r\n\r\n");
    }
}
