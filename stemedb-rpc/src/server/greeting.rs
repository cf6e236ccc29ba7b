//! Beginning of a connection: TLS where it is wanted, and a sentence for who is in the wrong place.

use std::{io, net::IpAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor, TlsStream,
    rustls::{self, AlertDescription, ServerConfig},
};

use super::rejection::{Rejection, Rejections};
use crate::stream::Stream;

/// First byte of a TLS connection: a record with a handshake.
const HANDSHAKE: u8 = 0x16;
/// Sentence for a client that does not speak TLS.
const TLS_WANTED: &str = "this server wants TLS: use https://";
/// Answer to a client that speaks TLS: no record of TLS begins so.
const TLS_UNWANTED: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\nthis server does not use TLS\n";
/// Time that a client has to hear why it is refused, and bytes of it that are read meanwhile: a
/// connection that is closed with bytes unread loses what was written last.
const LINGER_TIME_MAX: Duration = Duration::from_secs(1);
const LINGER_LEN_MAX: u64 = 64 << 10;
/// Connections that are kept for that at the same time; others are closed at once.
pub(super) const LINGERING_MAX: usize = 64;

/// Times of the beginning of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Until its first byte.
    pub(super) first_byte: Duration,
    /// For a TLS handshake.
    pub(super) handshake: Duration,
}

/// Takes a connection in, if it speaks what the server does. `lingering` bounds how many others are
/// kept until they have heard why not.
pub(super) async fn greet(
    stream: TcpStream,
    address: IpAddr,
    tls: Option<Arc<ServerConfig>>,
    times: Times,
    rejections: &Rejections,
    lingering: &Semaphore,
) -> Option<Stream> {
    let first = timeout(times.first_byte, first_byte(&stream)).await.ok()?.ok()??;
    match (tls, first == HANDSHAKE) {
        (None, false) => Some(Stream::Plain(stream)),
        (None, true) => {
            let detail = "it speaks TLS, and this server does not use it";
            rejections.note(Some(address), Rejection::TlsUnwanted, detail);
            say(stream, TLS_UNWANTED, lingering).await;
            None
        }
        (Some(_), false) => {
            let detail = "it speaks plaintext, and this server wants TLS";
            rejections.note(Some(address), Rejection::TlsWanted, detail);
            let mut start = [0; 3];
            // Where it is gone, any answer will do.
            let len = stream.peek(&mut start).await.unwrap_or(0);
            let is_http2 = len == start.len() && start == *b"PRI";
            say(stream, &refusal_in_plaintext(is_http2), lingering).await;
            None
        }
        (Some(config), true) => {
            let accept = TlsAcceptor::from(config).accept(stream).into_fallible();
            match timeout(times.handshake, accept).await {
                Ok(Ok(stream)) => Some(Stream::Tls(Box::new(TlsStream::Server(stream)))),
                Ok(Err((error, stream))) => {
                    let (rejection, detail) = failure(&error);
                    rejections.note(Some(address), rejection, detail);
                    // The alert is written; in TLS 1.3 the client may be sending already.
                    say(stream, &[], lingering).await;
                    None
                }
                Err(_) => {
                    let detail = "it did not finish the TLS handshake in time";
                    rejections.note(Some(address), Rejection::Handshake, detail);
                    None
                }
            }
        }
    }
}

/// The first byte of a connection, which stays to be read; `None` if it ends before.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut first = [0];
    let len = stream.peek(&mut first).await?;
    Ok(first.first().copied().filter(|_| len > 0))
}

/// Says something, and closes once the client has it; at once where too many wait for that.
async fn say(mut stream: TcpStream, bytes: &[u8], lingering: &Semaphore) {
    let Ok(_permit) = lingering.try_acquire() else {
        // It goes into the buffer of the connection, or is lost.
        let _said = stream.try_write(bytes);
        return;
    };
    let saying = async {
        stream.write_all(bytes).await?;
        stream.shutdown().await?;
        let mut rest = stream.take(LINGER_LEN_MAX);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    // A client that is gone does not want to know.
    let _said = timeout(LINGER_TIME_MAX, saying).await;
}

/// Answer to a client that begins in plaintext: HTTP/2 to one that speaks it, else HTTP/1.
pub(crate) fn refusal_in_plaintext(is_http2: bool) -> Vec<u8> {
    if !is_http2 {
        let answer = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n";
        return format!("{answer}{TLS_WANTED}\n").into_bytes();
    }
    // Empty settings, then a GOAWAY (RFC 9113, section 6.8): no stream was processed, the reason
    // INADEQUATE_SECURITY, and a text for people.
    let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let [.., high, middle, low] = (TLS_WANTED.len() + 8).to_be_bytes();
    frames.extend([high, middle, low, 7, 0, 0, 0, 0, 0]);
    frames.extend([0, 0, 0, 0, 0, 0, 0, 0xc]);
    frames.extend(TLS_WANTED.as_bytes());
    frames
}

/// Reason for which a handshake failed.
fn failure(error: &io::Error) -> (Rejection, String) {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::NoCertificatesPresented) => {
            let detail = "it shows no certificate, and this server wants one";
            (Rejection::ClientCertificate, detail.to_owned())
        }
        Some(rustls::Error::InvalidCertificate(fault)) => {
            let fault = crate::client::CertificateFault::from(fault);
            (Rejection::ClientCertificate, format!("its certificate {fault}"))
        }
        Some(rustls::Error::AlertReceived(alert)) if is_about_certificate(*alert) => (
            Rejection::ServerCertificate,
            format!("it does not trust this server's certificate: {alert:?}"),
        ),
        _ => (Rejection::Handshake, format!("the TLS handshake failed: {error}")),
    }
}

fn is_about_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            // The signature is not that of the authority of this name.
            | AlertDescription::DecryptError
    )
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, time::Instant};

    use super::*;

    #[tokio::test]
    async fn only_so_many_are_kept_until_they_have_heard_why() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        for (permits, is_kept) in [(1, true), (0, false)] {
            let mut client = TcpStream::connect(address).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let began = Instant::now();
            say(stream, b"no", &Semaphore::new(permits)).await;
            // The client is silent, and does not go.
            assert_eq!(began.elapsed() >= LINGER_TIME_MAX, is_kept, "{:?}", began.elapsed());
            let mut said = String::new();
            client.read_to_string(&mut said).await.unwrap();
            assert_eq!(said, "no");
        }
    }
}
