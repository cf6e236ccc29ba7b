//! Ids of bodies that are in files, hashed as the store hashes them.

use std::io::{self, Read};
use std::path::Path;

use stemedb::{AssertionId, Hash, Store};

use super::failure::{Failure, Origin};
use super::{Globals, secret};

/// Hasher of bodies, with the secret that the arguments name or without one.
#[derive(Clone, Copy)]
pub(super) struct BodyHasher {
    key: Option<Hash>,
}

impl BodyHasher {
    /// Hasher that needs no store.
    pub(super) fn without_store(globals: &Globals) -> Result<Self, Failure> {
        let secret = globals.secret_file.as_deref().map(secret::read).transpose()?;
        Ok(Self { key: secret.map(|secret| secret.key()) })
    }

    /// Hasher of the store that the arguments name. Where there is none yet, the secret alone
    /// decides; where there is one, it must be the store's, or ids would be those of no store.
    pub(super) fn of_store(globals: &Globals) -> Result<Self, Failure> {
        let secret = globals.secret_file.as_deref().map(secret::read).transpose()?;
        if Store::exists(&globals.store)? {
            Store::check_secret(&globals.store, secret.as_ref())?;
        }
        Ok(Self { key: secret.map(|secret| secret.key()) })
    }

    /// The id of a body in memory.
    pub(super) fn id(self, body: &[u8]) -> AssertionId {
        let mut hasher = self.hasher();
        hasher.update(body);
        AssertionId(hasher.finalize().into())
    }

    /// The id of all that a file holds; `-` is standard input.
    pub(super) fn id_of_file(self, path: &Path) -> Result<AssertionId, Failure> {
        let origin = Origin::of(path);
        self.id_of(origin.open()?).map_err(|source| Failure::Input { origin, source })
    }

    fn id_of(self, input: impl Read) -> io::Result<AssertionId> {
        let mut hasher = self.hasher();
        hasher.update_reader(input)?;
        Ok(AssertionId(hasher.finalize().into()))
    }

    fn hasher(self) -> blake3::Hasher {
        self.key.map_or_else(blake3::Hasher::new, |key| blake3::Hasher::new_keyed(&key))
    }
}
