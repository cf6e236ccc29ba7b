//! How a store is opened.

use std::{fmt, sync::Arc, time::Duration};

use stemedb_merkle::{
    AssertionId, Hash,
    hash::{derive, hash_bodies},
};
use stemedb_wal::{remote::SegmentSource, repair::HashBodies, sealed::Compression};

/// The least length of a cluster secret, in bytes.
pub const SECRET_LEN_MIN: usize = 16;

/// The secret of a cluster: ids tell nothing about bodies to those who lack it.
///
/// Never printed and never stored; wiped from the identity file but for a check value.
#[derive(Clone)]
pub struct Secret {
    bytes: Vec<u8>,
    key: Hash,
}

/// Why bytes are no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret has {len} bytes, and {SECRET_LEN_MIN} are the least that is safe")]
pub struct SecretTooShort {
    /// How many bytes it has.
    pub len: usize,
}

impl Secret {
    /// A secret of these bytes.
    ///
    /// # Errors
    ///
    /// If there are fewer than [`SECRET_LEN_MIN`].
    pub fn new(bytes: &[u8]) -> Result<Self, SecretTooShort> {
        if bytes.len() < SECRET_LEN_MIN {
            return Err(SecretTooShort { len: bytes.len() });
        }
        Ok(Self { bytes: bytes.to_vec(), key: derive("assertion id", bytes) })
    }

    /// The bytes of the secret, for what else is derived from them.
    pub fn expose(&self) -> &[u8] {
        &self.bytes
    }

    /// The key that bodies are hashed with.
    pub fn key(&self) -> Hash {
        self.key
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How bodies are hashed: with the secret, without one, or not at all for want of it.
#[derive(Clone, Copy, Debug)]
pub enum Hashing {
    /// Without a secret.
    Plain,
    /// With the key that follows from the secret.
    Keyed(Hash),
    /// Not at all: the store has a secret that was not given.
    SecretMissing,
}

impl Hashing {
    /// Way of a store with this secret, which may be missing.
    pub fn new(secret: Option<&Secret>, missing: bool) -> Self {
        match secret {
            _ if missing => Self::SecretMissing,
            Some(secret) => Self::Keyed(secret.key),
            None => Self::Plain,
        }
    }

    /// What hashes bodies; `None` if the secret for it is missing.
    pub fn hasher(self) -> Option<BodyHasher> {
        match self {
            Self::Plain => Some(BodyHasher::new(None)),
            Self::Keyed(key) => Some(BodyHasher::new(Some(key))),
            Self::SecretMissing => None,
        }
    }

    /// The assertion id of a body; `None` if the secret for it is missing.
    pub fn id(&self, body: &[u8]) -> Option<AssertionId> {
        self.hasher().map(|hasher| AssertionId(hasher.id(body)))
    }

    /// The number of the first body that has another id than the one beside it; `None` also if the
    /// secret is missing.
    pub fn first_wrong<'a>(
        self,
        bodies: impl IntoIterator<Item = (&'a [u8], Hash)>,
    ) -> Option<usize> {
        let hasher = self.hasher()?;
        let (bodies, said): (Vec<&[u8]>, Vec<Hash>) = bodies.into_iter().unzip();
        let mut found = Vec::with_capacity(said.len());
        hasher.ids(&bodies, &mut found);
        said.iter().zip(&found).position(|(said, found)| said != found)
    }
}

/// What hashes bodies to their ids.
#[derive(Clone, Copy, Debug)]
pub struct BodyHasher {
    key: Option<Hash>,
}

impl BodyHasher {
    /// Hasher of a store without a secret, or with the key that follows from its secret.
    pub fn new(key: Option<Hash>) -> Self {
        Self { key }
    }
}

impl HashBodies for BodyHasher {
    fn id(&self, body: &[u8]) -> Hash {
        match &self.key {
            None => blake3::hash(body).into(),
            Some(key) => blake3::keyed_hash(key, body).into(),
        }
    }

    fn ids(&self, bodies: &[&[u8]], ids: &mut Vec<Hash>) {
        hash_bodies(self.key.as_ref(), bodies.iter().copied(), ids);
    }
}

stemedb_merkle::options! {
    /// How a store is opened. The defaults suit most programs.
    #[derive(Clone, Debug)]
    pub struct Options {
        /// Whether a store is made where there is none. Default: yes.
        pub create: bool = true,
        /// Whether a store is made in a directory that holds files which are not a store's, those
        /// with names that begin with a dot and `lost+found` not counted. Default: no.
        pub create_among_files: bool = false,
        /// How long opening waits for another process that has the store open. Default: 5 seconds;
        /// with none it fails at once.
        pub lock_wait: Duration = Duration::from_secs(5),
        /// The cluster secret. Default: none. A store is made with or without one for good.
        pub secret: Option<Secret> = None,
        /// Whether a body's id is checked whenever the body is read, beyond its checksum. Default:
        /// yes; it costs about 1 ns a byte.
        pub verify_reads: bool = true,
        /// Whether ids are checked of all bodies that opening reads. Default: no;
        /// [`StoreReader::check`] does it when asked.
        ///
        /// [`StoreReader::check`]: crate::StoreReader::check
        pub verify_on_open: bool = false,
        /// The longest body, in bytes. Default 16 MiB: a batch of them stays in memory while it is
        /// written.
        pub body_len_max: u32 = 16 << 20,
        /// How long a segment of the log gets, in bytes. Default 64 MiB.
        pub segment_len: u64 = 64 << 20,
        /// How many bodies can wait to be written; appenders beyond that wait for room. Default
        /// 65,536.
        pub queue_records_max: usize = 1 << 16,
        /// How many bytes of bodies can wait to be written. Default 64 MiB.
        pub queue_bytes_max: usize = 64 << 20,
        /// A restart checkpoint is written after so many appends. Default 1,000,000: at 1 µs each,
        /// opening after a crash replays at most a second's worth.
        pub checkpoint_every: u64 = 1_000_000,
        /// A restart checkpoint is written after so much time if anything was appended. Default 5
        /// minutes.
        pub checkpoint_interval: Duration = Duration::from_secs(300),
        /// Whether restart checkpoints and sealed segments are mapped into memory, where the system
        /// can do that, instead of being read with a call whenever something of them is wanted.
        /// Default: yes, which is faster. A page of a map that the disk can't read raises SIGBUS,
        /// which a handler turns into an error; where that can't be installed nothing is mapped.
        /// Where a program has a handler of its own, installed later, that does not pass on what it
        /// does not know, files are not to be mapped. As many bytes of address space as the 256
        /// segments have that were read last are mapped; what of them is in memory is the system's
        /// cache of files, with or without maps.
        pub map_files: bool = true,
        /// Whether a thread compresses segments of the log once they are sealed; with the feature
        /// `zstd`. Default: no. Compressed ones are read in any case, by builds with that feature.
        /// A read of a body inflates the 64 KiB that it is in.
        pub compression: Compression = Compression::None,
        /// Whether the store has threads of its own, for writing and for checkpoints. Default: yes.
        /// Without them every append syncs by itself and checkpoints are written when asked for:
        /// the same calls give the same operations on the disk.
        pub threads: bool = true,
        /// Where bodies are read that were dropped from this machine: with the feature `node`,
        /// `archive::segment_source`. Default: nowhere; reading such a body then fails, and nothing
        /// else.
        pub segment_source: Option<Arc<dyn SegmentSource>> = None,
    }
}
