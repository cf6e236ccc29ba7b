//! Options that a running node takes on: the good ones, and in place of others those in force.

use std::fmt;

use stemedb_rpc::{Reloaded, ServerOptions, ServerTls};

use super::Options;

/// Part of new options that can't be used, in place of which the one in force is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Keys of the configuration.
    pub keys: &'static str,
    /// The reason.
    pub reason: String,
}

/// Error of a reload that took on a part of the configuration only.
#[derive(Debug, thiserror::Error)]
#[error("{}; {reloaded}", List(kept))]
pub struct PartlyReloaded {
    /// Parts that are kept as they were.
    pub kept: Vec<Kept>,
    /// Keys that have changed beside these.
    pub reloaded: Reloaded,
}

struct List<'a>(&'a [Kept]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, kept) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            write!(f, "{separator}{kept}")?;
        }
        Ok(())
    }
}

impl Kept {
    /// Whether a key is among those that are kept.
    pub fn has(&self, key: &str) -> bool {
        self.keys.split(", ").any(|kept| kept == key)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keeping the previous {}: {}", self.keys, self.reason)
    }
}

impl Options {
    /// Keeps the part that a key of the configuration names a file of.
    pub(super) fn keep(&mut self, key: &str, current: &Self) {
        let (server, client) = (&current.server, &current.client);
        match key {
            "tls.cert" | "tls.key" | "tls.client_ca" => {
                self.keep_server_tls(&server.clone());
                let identity = client.tls.as_ref().and_then(|tls| tls.identity.clone());
                if let Some(tls) = &mut self.client.tls {
                    tls.identity = identity;
                }
            }
            "tls.ca" | "tls.system_roots" => self.client.tls.clone_from(&client.tls),
            "auth.token_file" => self.server.tokens.clone_from(&server.tokens),
            "auth.client_tokens" => self.server.client_tokens.clone_from(&server.client_tokens),
            "auth.peer_tokens" => self.server.peer_tokens.clone_from(&server.peer_tokens),
            "auth.admin_tokens" => self.server.admin_tokens.clone_from(&server.admin_tokens),
            "auth.peer_token_file" => self.client.token.clone_from(&client.token),
            _ => {}
        }
    }

    /// TLS and whether it can be left out belong together.
    fn keep_server_tls(&mut self, current: &ServerOptions) {
        self.server.tls.clone_from(&current.tls);
        self.server.allow_plaintext = current.allow_plaintext;
    }

    /// These options with the certificates in force wherever the new ones can't be used now.
    pub(super) fn over(mut self, current: &Self, has_secret: bool) -> (Self, Vec<Kept>) {
        let mut kept = Vec::new();
        if let Err(error) = self.check_server(has_secret) {
            let reason = error.to_string();
            let part = self.with_part_of_tls(current, has_secret);
            let keys = if let Some((tls, keys)) = part {
                self.server.tls = Some(tls);
                keys
            } else {
                self.keep_server_tls(&current.server);
                "tls.cert, tls.key, tls.client_ca"
            };
            kept.push(Kept { keys, reason });
        }
        if let Err(error) = self.check_client() {
            let reason = error.to_string();
            let old = current.client.tls.as_ref();
            let identity = old.and_then(|tls| tls.identity.clone());
            if let Some(tls) = &mut self.client.tls {
                tls.identity = identity;
            }
            let mut keys = "tls.cert, tls.key";
            if self.check_client().is_err() {
                self.client.tls = old.cloned();
                keys = "tls.ca, tls.system_roots, tls.server_name, tls.cert, tls.key";
            }
            kept.push(Kept { keys, reason });
        }
        (self, kept)
    }

    /// TLS of the server with the certificate in force, or else with its authority, if that can be
    /// used; and the keys of what is in force.
    fn with_part_of_tls(
        &self,
        current: &Self,
        has_secret: bool,
    ) -> Option<(ServerTls, &'static str)> {
        let (new, old) = (self.server.tls.as_ref()?, current.server.tls.as_ref()?);
        let old_pair = ServerTls::new(old.certificate.clone(), old.key.clone())
            .client_ca(new.client_ca.clone());
        let old_authority = new.clone().client_ca(old.client_ca.clone());
        let parts = [(old_pair, "tls.cert, tls.key"), (old_authority, "tls.client_ca")];
        parts.into_iter().find(|(tls, _)| {
            let mut options = self.clone();
            options.server.tls = Some(tls.clone());
            options.check_server(has_secret).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};
    use stemedb_rpc::{ClientIdentity, ClientTls, Tokens};

    use super::*;

    /// A certificate of its own authority, and its key, valid until the beginning of a year.
    fn pair(until: i32) -> (Vec<u8>, Vec<u8>) {
        let mut params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        (pem.into_bytes(), key.serialize_pem().into_bytes())
    }

    /// Options with a certificate, an authority of clients, and an authority of servers.
    fn options(pair: &(Vec<u8>, Vec<u8>), client_ca: &[u8], ca: &[u8]) -> Options {
        let (certificate, key) = pair.clone();
        let mut options = Options::default();
        let tls = ServerTls::new(certificate.clone(), key.clone());
        options.server.tls = Some(tls.client_ca(Some(client_ca.to_vec())));
        let tls = ClientTls::new(ca.to_vec());
        options.client.tls = Some(tls.identity(Some(ClientIdentity { certificate, key })));
        options
    }

    /// Certificate and authority of the server, authority and certificate of the client.
    fn parts(options: &Options) -> [&[u8]; 4] {
        let (server, client) = (options.server.tls.as_ref(), options.client.tls.as_ref());
        let (server, client) = (server.unwrap(), client.unwrap());
        [
            &server.certificate,
            server.client_ca.as_deref().unwrap(),
            &client.ca,
            &client.identity.as_ref().unwrap().certificate,
        ]
    }

    fn keys(kept: &[Kept]) -> Vec<&'static str> {
        kept.iter().map(|kept| kept.keys).collect()
    }

    const PAIR: &str = "tls.cert, tls.key";

    #[test]
    fn what_is_good_is_taken_on_beside_what_is_kept() {
        let (old, new, expired) = (pair(4000), pair(4001), pair(2001));
        let [(old_ca, _), (new_ca, _), (expired_ca, _)] = [pair(4002), pair(4003), pair(2002)];
        let current = options(&old, &old_ca, &old_ca);
        let over = |newer: Options| newer.over(&current, false);
        let (taken, kept) = over(options(&new, &new_ca, &new_ca));
        assert_eq!(keys(&kept), [""; 0]);
        assert_eq!(parts(&taken), [&new.0[..], &new_ca, &new_ca, &new.0]);
        let (taken, kept) = over(options(&expired, &new_ca, &new_ca));
        assert_eq!(keys(&kept), [PAIR, PAIR]);
        assert!(kept[0].reason.contains("expired on 2001-01-01"), "{kept:?}");
        assert_eq!(parts(&taken), [&old.0[..], &new_ca, &new_ca, &old.0]);
        let (taken, kept) = over(options(&new, &expired_ca, &new_ca));
        assert_eq!(keys(&kept), ["tls.client_ca"]);
        assert_eq!(parts(&taken), [&new.0[..], &old_ca, &new_ca, &new.0]);
        let (taken, kept) = over(options(&new, &new_ca, &expired_ca));
        assert_eq!(keys(&kept), ["tls.ca, tls.system_roots, tls.server_name, tls.cert, tls.key"]);
        assert_eq!(parts(&taken), [&new.0[..], &new_ca, &old_ca, &old.0]);
        let (taken, kept) = over(options(&expired, &expired_ca, &expired_ca));
        assert_eq!(kept.len(), 2);
        assert_eq!(parts(&taken), parts(&current));
    }

    #[test]
    fn a_certificate_that_expired_in_use_keeps_no_token_from_being_replaced() {
        let (expired, (ca, _)) = (pair(2001), pair(4000));
        let current = options(&expired, &ca, &ca);
        let mut newer = current.clone();
        newer.server.tokens = Some(Tokens::parse(b"a-token-of-some-length").unwrap());
        let (taken, kept) = newer.over(&current, false);
        assert!(taken.server.tokens.is_some());
        assert_eq!(kept.len(), 2, "{kept:?}");
        assert!(kept[0].has("tls.cert") && !kept[0].has("tls.ca"), "{kept:?}");
    }

    #[test]
    fn a_node_does_not_open_while_it_runs() {
        let (good, (ca, _)) = (pair(4000), pair(4001));
        let mut current = options(&good, &ca, &ca);
        current.listen = ([0, 0, 0, 0], 7845).into();
        let mut newer = current.clone();
        newer.server.tls = None;
        let (taken, kept) = newer.clone().over(&current, true);
        assert!(taken.server.tls.is_some() && kept.len() == 1, "{kept:?}");
        // Without a secret, a client without a certificate would become a member.
        newer.server.tls = Some(ServerTls::new(good.0.clone(), good.1.clone()));
        let (taken, kept) = newer.over(&current, false);
        assert_eq!(keys(&kept), ["tls.client_ca"]);
        assert_eq!(parts(&taken), parts(&current));
    }
}
