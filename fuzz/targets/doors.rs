//! What people type or keep in files: tokens, and addresses of peers.

use stemedb_rpc::{PeerAddress, Token, Tokens};

/// The text of a token file, and of an address.
pub(crate) fn doors(bytes: &[u8]) {
    let token = Token::parse(bytes);
    if Tokens::parse(bytes).is_ok() {
        token.unwrap();
    }
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(address) = text.parse::<PeerAddress>() {
        let written = address.to_string();
        assert_eq!(written.parse(), Ok(address.clone()));
        assert!(written.bytes().all(|byte| byte.is_ascii_graphic()), "{written:?}");
        assert!(!(address.wants_tls() && address.refuses_tls()));
        let _ = address.is_here();
    }
}
