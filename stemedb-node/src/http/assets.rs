//! The console's files, which are part of the program.

use axum::{
    extract::Path,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::refusal;

struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

const PAGE: Asset = Asset { name: "", kind: HTML, text: include_str!("../console/index.html") };

const FILES: [Asset; 11] = [
    Asset { name: "console.css", kind: CSS, text: include_str!("../console/console.css") },
    Asset { name: "console.js", kind: JS, text: include_str!("../console/console.js") },
    Asset { name: "blake3.js", kind: JS, text: include_str!("../console/blake3.js") },
    Asset { name: "proof.js", kind: JS, text: include_str!("../console/proof.js") },
    Asset { name: "dom.js", kind: JS, text: include_str!("../console/dom.js") },
    Asset { name: "chart.js", kind: JS, text: include_str!("../console/chart.js") },
    Asset { name: "cells.js", kind: JS, text: include_str!("../console/cells.js") },
    Asset { name: "format.js", kind: JS, text: include_str!("../console/format.js") },
    Asset { name: "log.js", kind: JS, text: include_str!("../console/log.js") },
    Asset { name: "lookup.js", kind: JS, text: include_str!("../console/lookup.js") },
    Asset { name: "peers.js", kind: JS, text: include_str!("../console/peers.js") },
];

/// The console.
pub(super) async fn page(headers: HeaderMap) -> Response {
    answer(&PAGE, &headers)
}

/// One of its files.
pub(super) async fn file(Path(name): Path<String>, headers: HeaderMap) -> Response {
    match FILES.iter().find(|asset| asset.name == name) {
        Some(asset) => answer(asset, &headers),
        None => refusal::not_found().await.into_response(),
    }
}

/// A browser that has the file asks whether it is still the same: after an update it is not.
fn answer(asset: &Asset, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", blake3::hash(asset.text.as_bytes()).to_hex());
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == tag.as_str());
    let about = [(header::ETAG, tag), (header::CACHE_CONTROL, "no-cache".to_owned())];
    if known {
        return (StatusCode::NOT_MODIFIED, about).into_response();
    }
    (about, [(header::CONTENT_TYPE, asset.kind)], asset.text).into_response()
}
