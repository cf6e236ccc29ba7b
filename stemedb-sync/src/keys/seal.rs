//! The seal on each message of a session: its MAC.

use blake3::Hasher;
use stemedb_merkle::Hash;

use super::{front, same, set};
use crate::message::{
    Answer, Ask, AskIds, AskSymbols, Bodies, BodiesEnd, Descend, Fetch, Finish, Finished, Ids,
    Kind, Push, Pushed, Request, Response, SetHead, Subtrees, Symbols, Tail, Wanted,
};

/// The key of one session, which both sides derive.
///
/// Every message but the first two, which have proofs, is sealed with it. With a secret, any change
/// on the way is noticed; without one the key follows from what was said
/// in clear, and only accidents are.
#[derive(Clone)]
pub struct SessionKey(Hash);

impl SessionKey {
    pub(super) fn new(key: Hash) -> Self {
        Self(key)
    }

    /// The MAC of a request: 16 bytes of the keyed hash of `"request"`, its snapshot, its number,
    /// the number of its kind, and its fields in order. Integers are little-endian, an option is a
    /// byte 0, or a byte 1 and its fields, and a list is its length as a u64 and its bytes.
    pub fn request_mac(&self, request: &Request) -> [u8; 16] {
        let Request { envelope, ask } = request;
        let mut hasher = self.begin(b"request", envelope.snapshot, envelope.request, ask.kind());
        match ask {
            // It has a proof.
            Ask::Hello(_) | Ask::Leave => {}
            Ask::Symbols(AskSymbols { from, count }) => {
                hasher.update(&from.to_le_bytes()).update(&count.to_le_bytes());
            }
            Ask::Ids(AskIds { prefixes }) => list(&mut hasher, prefixes),
            Ask::Descend(Descend { nodes, levels, leaf_ids }) => {
                list(&mut hasher, nodes);
                hasher.update(&[*levels]).update(&leaf_ids.to_le_bytes());
            }
            Ask::Fetch(Fetch { wanted: Wanted::Prefixes(prefixes) }) => {
                hasher.update(&[0]);
                list(&mut hasher, prefixes);
            }
            Ask::Fetch(Fetch { wanted: Wanted::Ids(ids) }) => {
                hasher.update(&[1]);
                list(&mut hasher, ids);
            }
            Ask::Tail(Tail { from, count }) => {
                hasher.update(&from.to_le_bytes()).update(&count.to_le_bytes());
            }
            Ask::Push(Push { part, bytes, last }) => {
                hasher.update(&part.to_le_bytes());
                list(&mut hasher, bytes);
                hasher.update(&[u8::from(*last)]);
            }
            Ask::Finish(Finish { set, now }) => {
                optional_set(&mut hasher, set.as_ref());
                optional_set(&mut hasher, now.as_ref());
            }
        }
        front(&hasher)
    }

    /// The MAC of a response: that of a [request](Self::request_mac) with `"response"` for
    /// `"request"`. Answers of bodies have the number of [`Kind::Fetch`].
    pub fn response_mac(&self, response: &Response) -> [u8; 16] {
        let Response { echo, answer } = response;
        let mut hasher = self.begin(b"response", echo.snapshot, echo.request, answer.kind());
        match answer {
            // It has a proof.
            Answer::Welcome(_) | Answer::Left => {}
            Answer::Symbols(Symbols { from, symbols, last }) => {
                hasher.update(&from.to_le_bytes());
                list(&mut hasher, symbols);
                hasher.update(&[u8::from(*last)]);
            }
            Answer::Ids(Ids { suffixes }) => list(&mut hasher, suffixes),
            Answer::Subtrees(Subtrees { subtrees }) => list(&mut hasher, subtrees),
            Answer::Bodies(Bodies { part, bytes, end }) => {
                hasher.update(&part.to_le_bytes());
                list(&mut hasher, bytes);
                match end {
                    None => hasher.update(&[0]),
                    Some(BodiesEnd { processed }) => {
                        hasher.update(&[1]).update(&processed.to_le_bytes())
                    }
                };
            }
            Answer::Pushed(Pushed { appended, duplicates }) => {
                hasher.update(&appended.to_le_bytes()).update(&duplicates.to_le_bytes());
            }
            Answer::Finished(Finished { checked, set: head, log }) => {
                hasher.update(&[u8::from(*checked)]);
                set(&mut hasher, head);
                hasher.update(&log.size.0.to_le_bytes()).update(log.root.as_bytes());
            }
        }
        front(&hasher)
    }

    /// Whether a request has the MAC that it must have.
    pub fn admits_request(&self, request: &Request) -> bool {
        same(&self.request_mac(request), &request.envelope.mac)
    }

    /// Whether a response has the MAC that it must have.
    pub fn admits_response(&self, response: &Response) -> bool {
        same(&self.response_mac(response), &response.echo.mac)
    }

    /// A request with its MAC.
    pub fn seal_request(&self, mut request: Request) -> Request {
        request.envelope.mac = self.request_mac(&request);
        request
    }

    /// A response with its MAC.
    pub fn seal_response(&self, mut response: Response) -> Response {
        response.echo.mac = self.response_mac(&response);
        response
    }

    fn begin(&self, who: &[u8], snapshot: u64, request: u64, kind: Kind) -> Hasher {
        let mut hasher = Hasher::new_keyed(&self.0);
        hasher.update(who).update(&snapshot.to_le_bytes()).update(&request.to_le_bytes());
        hasher.update(&[kind.number()]);
        hasher
    }
}

fn optional_set(hasher: &mut Hasher, head: Option<&SetHead>) {
    hasher.update(&[u8::from(head.is_some())]);
    if let Some(head) = head {
        set(hasher, head);
    }
}

fn list(hasher: &mut Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}

impl core::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SessionKey(..)")
    }
}
