//! Which calls a token permits.

use super::ServerOptions;
use crate::{Reason, token::Tokens};

/// Right that a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Any token.
    Any,
    /// A token of a client: append, get, prove and watch.
    Client,
    /// A token of a peer: sessions and gossip.
    Peer,
    /// A token of an administrator: control.
    Admin,
}

/// The tokens that a server accepts, by what they permit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// Those of clients and peers alike.
    shared: Option<Tokens>,
    client: Option<Tokens>,
    peer: Option<Tokens>,
    admin: Option<Tokens>,
}

impl Right {
    /// Right that a call needs, by its path. A call that is not named here needs the most.
    pub(crate) fn of(path: &str) -> Self {
        let (service, call) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
        match (service, call) {
            ("stemedb.v1.StoreService", _) => Self::Client,
            ("stemedb.v1.ReplicationService", _) | ("stemedb.v1.NodeService", "Gossip") => {
                Self::Peer
            }
            ("stemedb.v1.NodeService", "Status" | "Cells")
            | (
                "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection",
                _,
            ) => Self::Any,
            _ => Self::Admin,
        }
    }
}

impl Access {
    pub(crate) fn of(options: &ServerOptions) -> Self {
        Self {
            shared: options.tokens.clone(),
            client: options.client_tokens.clone(),
            peer: options.peer_tokens.clone(),
            admin: options.admin_tokens.clone(),
        }
    }

    /// Whether an `authorization` header permits a call.
    ///
    /// Where there are tokens of clients or peers at all, both need one: a server on which only the
    /// other half was thought of is not open. Control always needs a token. All lists are looked
    /// through for every call, so that the time taken tells nothing.
    pub(crate) fn check(&self, right: Right, header: Option<&[u8]>) -> Result<(), Reason> {
        let is_in =
            |tokens: &Option<Tokens>| tokens.as_ref().is_some_and(|tokens| tokens.admit(header));
        let (shared, client) = (is_in(&self.shared), is_in(&self.client));
        let (peer, admin) = (is_in(&self.peer), is_in(&self.admin));
        let open = self.shared.is_none() && self.client.is_none() && self.peer.is_none();
        let known = shared || client || peer || admin;
        let permitted = match right {
            Right::Any => open || known,
            Right::Client => open || shared || client || admin,
            Right::Peer => open || shared || peer || admin,
            Right::Admin => admin,
        };
        match permitted {
            true => Ok(()),
            false if known || right == Right::Admin => Err(Reason::Forbidden),
            false => Err(Reason::Token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = "a-token-of-clients-and-peers";
    const CLIENT: &str = "a-token-of-a-client";
    const PEER: &str = "a-token-of-a-peer";
    const ADMIN: &str = "a-token-of-an-administrator";
    const RIGHTS: [Right; 4] = [Right::Any, Right::Client, Right::Peer, Right::Admin];

    fn tokens(text: &str) -> Tokens {
        Tokens::parse(text.as_bytes()).unwrap()
    }

    /// Which rights a token gives, or its absence.
    fn rights(access: &Access, token: Option<&str>) -> [Result<(), Reason>; 4] {
        let header = token.map(|token| format!("Bearer {token}"));
        RIGHTS.map(|right| access.check(right, header.as_deref().map(str::as_bytes)))
    }

    const OK: Result<(), Reason> = Ok(());
    const FORBIDDEN: Result<(), Reason> = Err(Reason::Forbidden);
    const TOKEN: Result<(), Reason> = Err(Reason::Token);

    #[test]
    fn each_scope_permits_its_own_calls() {
        let access = Access {
            shared: Some(tokens(SHARED)),
            client: Some(tokens(CLIENT)),
            peer: Some(tokens(PEER)),
            admin: Some(tokens(ADMIN)),
        };
        assert_eq!(rights(&access, Some(SHARED)), [OK, OK, OK, FORBIDDEN]);
        assert_eq!(rights(&access, Some(CLIENT)), [OK, OK, FORBIDDEN, FORBIDDEN]);
        assert_eq!(rights(&access, Some(PEER)), [OK, FORBIDDEN, OK, FORBIDDEN]);
        assert_eq!(rights(&access, Some(ADMIN)), [OK, OK, OK, OK]);
        for wrong in [None, Some("a-token-of-nobody-at-all")] {
            assert_eq!(rights(&access, wrong), [TOKEN, TOKEN, TOKEN, FORBIDDEN]);
        }
    }

    #[test]
    fn without_tokens_all_is_open_but_control() {
        let access = Access::default();
        for token in [None, Some(ADMIN)] {
            assert_eq!(rights(&access, token), [OK, OK, OK, FORBIDDEN]);
        }
        // Administrators may have tokens where clients need none.
        let access = Access { admin: Some(tokens(ADMIN)), ..Access::default() };
        assert_eq!(rights(&access, None), [OK, OK, OK, FORBIDDEN]);
        assert_eq!(rights(&access, Some(ADMIN)), [OK, OK, OK, OK]);
    }

    #[test]
    fn tokens_of_one_scope_leave_the_other_closed() {
        let access = Access { client: Some(tokens(CLIENT)), ..Access::default() };
        assert_eq!(rights(&access, None), [TOKEN, TOKEN, TOKEN, FORBIDDEN]);
        assert_eq!(rights(&access, Some(CLIENT)), [OK, OK, FORBIDDEN, FORBIDDEN]);
        let access = Access { peer: Some(tokens(PEER)), ..Access::default() };
        assert_eq!(rights(&access, None), [TOKEN, TOKEN, TOKEN, FORBIDDEN]);
        assert_eq!(rights(&access, Some(PEER)), [OK, FORBIDDEN, OK, FORBIDDEN]);
    }

    #[test]
    fn every_call_has_its_right_and_an_unknown_one_needs_the_most() {
        for (path, right) in [
            ("/stemedb.v1.StoreService/Append", Right::Client),
            ("/stemedb.v1.StoreService/Watch", Right::Client),
            ("/stemedb.v1.ReplicationService/Hello", Right::Peer),
            ("/stemedb.v1.ReplicationService/Push", Right::Peer),
            ("/stemedb.v1.NodeService/Gossip", Right::Peer),
            ("/stemedb.v1.NodeService/Status", Right::Any),
            ("/stemedb.v1.NodeService/Cells", Right::Any),
            ("/stemedb.v1.NodeService/Control", Right::Admin),
            ("/stemedb.v1.NodeService/Another", Right::Admin),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Right::Any),
            ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Right::Any),
            ("/grpc.reflection.v2.ServerReflection/ServerReflectionInfo", Right::Admin),
            ("/stemedb.v1.StoreServiceHouse/Append", Right::Admin),
            ("/", Right::Admin),
            ("", Right::Admin),
        ] {
            assert_eq!(Right::of(path), right, "{path}");
        }
    }
}
