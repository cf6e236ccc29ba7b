//! Checks of every request, and header fields of every answer.

use std::{net::IpAddr, sync::Arc};

use axum::{
    Extension,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{self, HeaderName},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{HttpState, places::Caller, refusal::Refusal};

/// The paths of the probes, which are answered whatever host they name.
pub(super) const LIVE: &str = "/livez";
pub(super) const READY: &str = "/readyz";

/// Bytes of a request's header fields, names included.
const HEADERS_LEN_MAX: usize = 16 << 10;
/// Bytes of path and query: a proof is asked for by 64 digits.
const URI_LEN_MAX: usize = 1 << 10;

/// The console runs its own scripts and nothing else, asks nobody else, and is framed by nobody.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                              connect-src 'self'; img-src 'self' data:; base-uri 'none'; \
                              form-action 'none'; frame-ancestors 'none'";

const ALWAYS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Lets a request through if it is one, for so long as it may take.
pub(super) async fn guard(
    State(state): State<Arc<HttpState>>,
    Extension(caller): Extension<Caller>,
    mut request: Request,
    next: Next,
) -> Response {
    let _running = caller.begin();
    let head = Head { method: request.method(), uri: request.uri(), headers: request.headers() };
    let mut response = match head.check(&state.options.hosts) {
        Err(refusal) => refusal.into_response(),
        Ok(host) => {
            request.extensions_mut().insert(host);
            match timeout(state.options.answer_time_max, next.run(request)).await {
                Ok(response) => response,
                Err(_) => Refusal::slow().into_response(),
            }
        }
    };
    state.node.shared.metrics.answered(response.status().as_u16());
    let headers = response.headers_mut();
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if caller.is_single() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Whether the host that a request asks for is one of this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// It is.
    Known,
    /// It is another name, or none: only probes are answered then.
    Unknown,
}

/// A request without its body, which nobody wants.
struct Head<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
}

impl Head<'_> {
    fn check(&self, hosts: &[String]) -> Result<Host, Refusal> {
        let fields = self.headers.iter();
        let len: usize = fields.map(|(name, value)| name.as_str().len() + value.len()).sum();
        if len > HEADERS_LEN_MAX {
            return Err(Refusal::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "the header fields are longer than 16 KiB together",
            ));
        }
        let uri_len = self.uri.path().len() + self.uri.query().map_or(0, str::len);
        if uri_len > URI_LEN_MAX {
            return Err(Refusal::new(
                StatusCode::URI_TOO_LONG,
                "path and query are longer than 1 KiB",
            ));
        }
        let host = match self.check_host(hosts) {
            Ok(()) => Host::Known,
            Err(_) if [LIVE, READY].contains(&self.uri.path()) => Host::Unknown,
            Err(refusal) => return Err(refusal),
        };
        if self.method != Method::GET && self.method != Method::HEAD {
            return Err(Refusal::method());
        }
        let empty = |len: &HeaderValue| len.as_bytes() == b"0";
        if self.headers.contains_key(header::TRANSFER_ENCODING)
            || !self.headers.get(header::CONTENT_LENGTH).is_none_or(empty)
        {
            return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "no request has a body here"));
        }
        Ok(host)
    }

    /// Against DNS rebinding: a page of another name that resolves to this machine still asks for
    /// that other name.
    fn check_host(&self, hosts: &[String]) -> Result<(), Refusal> {
        let mut named = self.headers.get_all(header::HOST).iter();
        let (Some(host), None) = (named.next(), named.next()) else {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "one Host field is needed"));
        };
        let absolute = self.uri.authority().map(axum::http::uri::Authority::as_str);
        let known = |host: &str| is_known(host, hosts);
        if host.to_str().is_ok_and(known) && absolute.is_none_or(known) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this host name is not known here: ask for the IP address or for localhost, or add the \
             name to the host names of the node's configuration",
        ))
    }
}

/// Whether a `Host` is an IP address, `localhost` or one of these names, with whatever port.
fn is_known(host: &str, hosts: &[String]) -> bool {
    if let Some(rest) = host.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return port_fits && address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let (name, port) = host.split_once(':').unwrap_or((host, "80"));
    let known = name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|host| name.eq_ignore_ascii_case(host));
    is_port(port) && known
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_nobody_can_rebind_are_known() {
        let hosts = ["node-1.example".to_owned()];
        for known in [
            "localhost",
            "LocalHost:7846",
            "127.0.0.1",
            "127.0.0.1:7846",
            "10.1.2.3:80",
            "[::1]",
            "[::1]:7846",
            "node-1.example",
            "NODE-1.example:443",
        ] {
            assert!(is_known(known, &hosts), "{known}");
        }
        for unknown in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil.example:7846",
            "127.1",
            "2130706433",
            "[::1].evil.example",
            "[::1",
            "::1",
            "[evil.example]",
            "localhost:evil",
            "localhost:+80",
            "localhost:80:80",
            "localhost ",
            "user@localhost",
            "node-1.example.evil",
        ] {
            assert!(!is_known(unknown, &hosts), "{unknown}");
        }
    }
}
