//! Who a store is: the file `IDENTITY`.
//!
//! ```text
//!  byte  0 +--------------------------------+--------------------------------+
//!          | magic "STEMEIDT"               | version u32    | crc u32       |
//!       16 +--------------------------------+--------------------------------+
//!          | store id                                                        |
//!       32 +-----------------------------------------------------------------+
//!          | node id, not zeros                                              |
//!       48 +-----------------------------------------------------------------+
//!          | salt seed                                                       |
//!       64 +-----------------------------------------------------------------+
//!          | secret check, 32 bytes, or zeros                                |
//!       96 +--------------------------------+--------------------------------+
//!          | epoch u64                      | LOCK's inode u64               |
//!      112 +--------------------------------+--------------------------------+
//!          | LOCK's birth, nanoseconds u64  | clean: position u64, or 0      |
//!      128 +--------------------------------+--------------------------------+
//!          | clean: next index u64, or 0    | generation u32 | flags u32     |
//!      144 +--------------------------------+--------------------------------+
//! ```
//!
//! Integers are little-endian. Flag bit 0: there is a secret check; bit 1: there is a clean mark;
//! the others are 0. The CRC (`crc32fast`) covers all bytes but its own, in every version and
//! whatever the length, so that another version is told from damage.
//!
//! The file is replaced, never changed: written beside, synced, renamed, and the directory synced.
//! At every moment the old or the new one is there, whole.

use subtle::ConstantTimeEq as _;

use crate::{
    disk::{Disk, Fingerprint},
    internal::filled,
    position::Position,
    watermark::Watermark,
};
use std::{fmt, io, path::PathBuf};

use stemedb_merkle::LogIndex;

/// The file's name.
pub const IDENTITY_NAME: &str = "IDENTITY";

/// Where its successor is written.
const IDENTITY_TEMP_NAME: &str = "IDENTITY.tmp";

/// The file's length in bytes.
pub const IDENTITY_LEN: usize = 144;

/// The version written and read here.
const VERSION: u32 = 1;

/// No version is longer than this, in bytes: what is, is not read.
const IDENTITY_LEN_MAX: usize = 4096;

const MAGIC: [u8; 8] = *b"STEMEIDT";
const FLAG_SECRET: u32 = 1;
const FLAG_CLEAN: u32 = 2;

/// Who a store is, and how its log was last left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The store, in all its copies.
    pub store_id: [u8; 16],
    /// This directory: a copy gets another. Never zeros.
    pub node_id: [u8; 16],
    /// Counts, from 1, the directories and repairs that this log went through.
    pub epoch: u64,
    /// Which segment files are live; counts, from 0, the repairs that rewrote the log.
    pub generation: u32,
    /// What the segments' salts are derived from.
    pub salt_seed: [u8; 16],
    /// `derive("store check", secret)` where the store was made with a secret.
    pub secret_check: Option<[u8; 32]>,
    /// Which very directory this is.
    pub fingerprint: Fingerprint,
    /// Up to where the log of this generation was durable when that was last written down: at a
    /// clean close, its end. A log shorter than this is damaged.
    pub clean: Option<Watermark>,
}

/// An identity that was read, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The identity, as it is saved now.
    pub identity: Identity,
    /// Set if the directory turned out to be a copy.
    pub copied: Option<Copied>,
    /// Whether the store has a secret that was not given: ids can be compared but not computed.
    pub secret_missing: bool,
}

/// A directory that is a copy, or was restored, and therefore is another node from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The node that the copy was taken of.
    pub former_node_id: [u8; 16],
    /// The epoch that the copy was taken in.
    pub former_epoch: u64,
    /// The node that this directory is now.
    pub node_id: [u8; 16],
    /// The epoch that begins.
    pub epoch: u64,
}

/// Why a secret does not fit a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It is not the one that the store was made with.
    #[error("this is not the secret that the store was made with; give the right one")]
    Wrong,
    /// The store was made with one, and none is given.
    #[error("the store was made with a secret, which computing ids needs; give it")]
    Missing,
    /// The store was made without one.
    #[error("the store was made without a secret; open it without")]
    Unexpected,
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// No file.
    #[error(
        "{} is missing: put it back from a copy, or repair the store, which makes it again from \
         the segments",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file that is not what was written.
    #[error(
        "{} is damaged: put it back from a copy, or repair the store, which makes it again from \
         the segments",
        path.display()
    )]
    Damaged {
        /// Where it is.
        path: PathBuf,
    },
    /// A file of a version not known here.
    #[error("{} is of format version {version}; open it with a newer release", path.display())]
    FutureVersion {
        /// Where it is.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// There is one where a new one was to be made.
    #[error("{} is there already", path.display())]
    AlreadyThere {
        /// Where it is.
        path: PathBuf,
    },
    /// The secret does not fit.
    #[error("{}: {source}", path.display())]
    Secret {
        /// Where the identity is.
        path: PathBuf,
        /// What is wrong with it.
        source: SecretError,
    },
    /// Epochs have run out, which only a crafted file can bring about.
    #[error(
        "{}: there is no epoch after the last; run repair on a copy of the original",
        path.display()
    )]
    EpochsExhausted {
        /// Where the identity is.
        path: PathBuf,
    },
    /// No random bytes.
    #[error("cannot draw random bytes")]
    Entropy(#[source] io::Error),
    /// The disk said no.
    #[error("{}: cannot {action}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// Why bytes are no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// They are not what was written.
    Damaged,
    /// They are of a version not known here.
    FutureVersion(u32),
}

impl Identity {
    /// Makes the identity of a new store and saves it.
    ///
    /// The directory must be locked; `fingerprint` is the lock's.
    ///
    /// # Errors
    ///
    /// [`AlreadyThere`](IdentityError::AlreadyThere), or if the disk or the entropy fails.
    pub fn create(
        disk: &dyn Disk,
        fingerprint: Fingerprint,
        secret: Option<&[u8]>,
        entropy: fn(&mut [u8]) -> io::Result<()>,
    ) -> Result<Self, IdentityError> {
        match disk.open(IDENTITY_NAME) {
            Ok(_) => return Err(IdentityError::AlreadyThere { path: disk.path(IDENTITY_NAME) }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(failed("open it", disk, IDENTITY_NAME, source)),
        }
        let identity = Self {
            store_id: draw(entropy)?,
            node_id: draw(entropy)?,
            epoch: 1,
            generation: 0,
            salt_seed: draw(entropy)?,
            secret_check: secret.map(check_of),
            fingerprint,
            clean: None,
        };
        identity.save(disk)?;
        Ok(identity)
    }

    /// Reads the identity, holds the secret against it, and notices a copied directory.
    ///
    /// A copy becomes another node, in a new epoch, and that is saved before this returns. The
    /// directory must be locked; `fingerprint` is the lock's.
    ///
    /// # Errors
    ///
    /// Also for a wrong secret, and for any secret where the store has none; not for a missing one.
    pub fn open(
        disk: &dyn Disk,
        fingerprint: Fingerprint,
        secret: Option<&[u8]>,
        entropy: fn(&mut [u8]) -> io::Result<()>,
    ) -> Result<Opened, IdentityError> {
        let mut identity = Self::load(disk)?;
        let path = || disk.path(IDENTITY_NAME);
        let secret_missing = match identity.check_secret(secret) {
            Ok(()) => false,
            Err(SecretError::Missing) => true,
            Err(source) => return Err(IdentityError::Secret { path: path(), source }),
        };
        let mut copied = None;
        if !identity.fingerprint.matches(fingerprint) {
            let (former_node_id, former_epoch) = (identity.node_id, identity.epoch);
            let exhausted = || IdentityError::EpochsExhausted { path: path() };
            identity.epoch = former_epoch.checked_add(1).ok_or_else(exhausted)?;
            identity.node_id = draw(entropy)?;
            identity.fingerprint = fingerprint;
            identity.save(disk)?;
            let (node_id, epoch) = (identity.node_id, identity.epoch);
            copied = Some(Copied { former_node_id, former_epoch, node_id, epoch });
        }
        Ok(Opened { identity, copied, secret_missing })
    }

    /// Reads the identity, and nothing more: for those who only look.
    ///
    /// # Errors
    ///
    /// If it is missing, damaged, of another version, or cannot be read.
    pub fn load(disk: &dyn Disk) -> Result<Self, IdentityError> {
        let path = || disk.path(IDENTITY_NAME);
        let read = |source| failed("read it", disk, IDENTITY_NAME, source);
        let file = disk.open(IDENTITY_NAME).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => IdentityError::Missing { path: path() },
            _ => failed("open it", disk, IDENTITY_NAME, error),
        })?;
        let mut buffer = [0; IDENTITY_LEN_MAX + 1];
        let len = file.read_at(&mut buffer, 0).map_err(read)?;
        Self::decode(filled(&buffer, len)).map_err(|unreadable| match unreadable {
            Unreadable::Damaged => IdentityError::Damaged { path: path() },
            Unreadable::FutureVersion(version) => {
                IdentityError::FutureVersion { path: path(), version }
            }
        })
    }

    /// What a file said of which one bit was flipped; `None` if more is wrong, or nothing.
    pub(crate) fn corrected(bytes: &[u8]) -> Option<Self> {
        let mut bytes: [u8; IDENTITY_LEN] = bytes.try_into().ok()?;
        for at in 0..IDENTITY_LEN {
            for bit in 0..8 {
                *bytes.get_mut(at)? ^= 1 << bit;
                if let Ok(identity) = Self::decode(&bytes) {
                    return Some(identity);
                }
                *bytes.get_mut(at)? ^= 1 << bit;
            }
        }
        None
    }

    /// Replaces the file. Once this returns, it survives a power cut; if it fails or the power is
    /// cut meanwhile, the file is the old one or this, whole.
    ///
    /// # Errors
    ///
    /// If the disk fails. The identity that is in force is then unknown until it is read again.
    pub fn save(&self, disk: &dyn Disk) -> Result<(), IdentityError> {
        if let Err(error) = self.write_temporary(disk) {
            // Best effort: the next opening removes what is left of it.
            let _ = disk.remove(IDENTITY_TEMP_NAME);
            return Err(error);
        }
        disk.sync_dir().map_err(|source| failed("sync its directory", disk, IDENTITY_NAME, source))
    }

    fn write_temporary(&self, disk: &dyn Disk) -> Result<(), IdentityError> {
        let temp = |action| move |source| failed(action, disk, IDENTITY_TEMP_NAME, source);
        let file = disk.create(IDENTITY_TEMP_NAME).map_err(temp("create it"))?;
        file.write_at(&self.encode(), 0).map_err(temp("write it"))?;
        file.sync().map_err(temp("sync it"))?;
        disk.rename(IDENTITY_TEMP_NAME, IDENTITY_NAME).map_err(temp("rename it to IDENTITY"))
    }

    /// Saves how far the log is durable: about once a second while it grows, and at a clean close.
    /// Does nothing unless it has grown since the last time: the mark never goes back within a
    /// generation.
    ///
    /// # Errors
    ///
    /// As [`save`](Self::save). The log is whole all the same: it was synced before.
    pub fn save_clean(&mut self, disk: &dyn Disk, mark: Watermark) -> Result<(), IdentityError> {
        if self.clean.is_none_or(|clean| clean.position < mark.position) {
            let marked = Self { clean: Some(mark), ..self.clone() };
            marked.save(disk)?;
            *self = marked;
        }
        Ok(())
    }

    /// The identity for a log that was rewritten: next generation, next epoch, no clean mark.
    /// Not saved. `None` when either has run out.
    pub fn next_generation(&self) -> Option<Self> {
        let (generation, epoch) = (self.generation.checked_add(1)?, self.epoch.checked_add(1)?);
        Some(Self { generation, epoch, clean: None, ..self.clone() })
    }

    /// Whether a secret, or none, is what the store was made with.
    ///
    /// # Errors
    ///
    /// If it is not: see the variants.
    pub fn check_secret(&self, secret: Option<&[u8]>) -> Result<(), SecretError> {
        match (self.secret_check, secret) {
            (None, None) => Ok(()),
            (Some(check), Some(secret)) if check.ct_eq(&check_of(secret)).into() => Ok(()),
            (Some(_), Some(_)) => Err(SecretError::Wrong),
            (Some(_), None) => Err(SecretError::Missing),
            (None, Some(_)) => Err(SecretError::Unexpected),
        }
    }

    /// The bytes of the file.
    #[doc(hidden)]
    pub fn encode(&self) -> [u8; IDENTITY_LEN] {
        let secret = if self.secret_check.is_some() { FLAG_SECRET } else { 0 };
        let clean = if self.clean.is_some() { FLAG_CLEAN } else { 0 };
        // What the flags say is not there is zeros.
        let mark = self.clean.unwrap_or_default();
        let fields: [&[u8]; 11] = [
            &self.store_id,
            &self.node_id,
            &self.salt_seed,
            &self.secret_check.unwrap_or_default(),
            &self.epoch.to_le_bytes(),
            &self.fingerprint.inode.to_le_bytes(),
            &self.fingerprint.birth_nanos.to_le_bytes(),
            &mark.position.get().to_le_bytes(),
            &mark.next_index.get().to_le_bytes(),
            &self.generation.to_le_bytes(),
            &(secret | clean).to_le_bytes(),
        ];
        let rest = fields.concat();
        let front = [MAGIC.as_slice(), &VERSION.to_le_bytes()].concat();
        let crc = crc_of(&front, &rest).to_le_bytes();
        let all = front.into_iter().chain(crc).chain(rest);
        let mut bytes = [0; IDENTITY_LEN];
        bytes.iter_mut().zip(all).for_each(|(byte, value)| *byte = value);
        bytes
    }

    /// Reads the bytes of a file. Total: any bytes may come.
    ///
    /// # Errors
    ///
    /// If they are damaged, or of another version.
    #[doc(hidden)]
    pub fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        let damaged = Unreadable::Damaged;
        if bytes.len() > IDENTITY_LEN_MAX {
            return Err(damaged);
        }
        let (front, rest) = bytes.split_first_chunk::<12>().ok_or(damaged)?;
        let (crc, rest) = rest.split_first_chunk::<4>().ok_or(damaged)?;
        let (magic, version) = front.split_first_chunk::<8>().ok_or(damaged)?;
        if *magic != MAGIC || u32::from_le_bytes(*crc) != crc_of(front, rest) {
            return Err(damaged);
        }
        let version = version.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        match version {
            Some(VERSION) => {}
            Some(later) if later > VERSION => return Err(Unreadable::FutureVersion(later)),
            _ => return Err(damaged),
        }
        let mut rest = rest;
        let identity = Self {
            store_id: take(&mut rest).ok_or(damaged)?,
            node_id: take(&mut rest).ok_or(damaged)?,
            salt_seed: take(&mut rest).ok_or(damaged)?,
            secret_check: Some(take(&mut rest).ok_or(damaged)?),
            epoch: take(&mut rest).map(u64::from_le_bytes).ok_or(damaged)?,
            fingerprint: Fingerprint {
                inode: take(&mut rest).map(u64::from_le_bytes).ok_or(damaged)?,
                birth_nanos: take(&mut rest).map(u64::from_le_bytes).ok_or(damaged)?,
            },
            clean: Some(Watermark {
                position: take(&mut rest)
                    .map(|bytes| Position(u64::from_le_bytes(bytes)))
                    .ok_or(damaged)?,
                next_index: take(&mut rest)
                    .map(|bytes| LogIndex(u64::from_le_bytes(bytes)))
                    .ok_or(damaged)?,
            }),
            generation: take(&mut rest).map(u32::from_le_bytes).ok_or(damaged)?,
        };
        let flags = take(&mut rest).map(u32::from_le_bytes).ok_or(damaged)?;
        if !rest.is_empty()
            || flags & !(FLAG_SECRET | FLAG_CLEAN) != 0
            || identity.node_id == [0; 16]
        {
            return Err(damaged);
        }
        Ok(Self {
            secret_check: identity.secret_check.filter(|_| flags & FLAG_SECRET != 0),
            clean: identity.clean.filter(|_| flags & FLAG_CLEAN != 0),
            ..identity
        })
    }
}

impl fmt::Display for Copied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "this directory is a copy of node {:032x}, epoch {}: it is node {:032x}, epoch {}, \
             from now on",
            u128::from_be_bytes(self.former_node_id),
            self.former_epoch,
            u128::from_be_bytes(self.node_id),
            self.epoch
        )
    }
}

fn take<const LEN: usize>(bytes: &mut &[u8]) -> Option<[u8; LEN]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn crc_of(front: &[u8], rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(front);
    hasher.update(rest);
    hasher.finalize()
}

pub(crate) fn check_of(secret: &[u8]) -> [u8; 32] {
    stemedb_merkle::hash::derive("store check", secret)
}

pub(crate) fn draw(entropy: fn(&mut [u8]) -> io::Result<()>) -> Result<[u8; 16], IdentityError> {
    let mut bytes = [0; 16];
    entropy(&mut bytes).map_err(IdentityError::Entropy)?;
    if bytes == [0; 16] {
        // One in 2^128, or a source that does nothing.
        return Err(IdentityError::Entropy(io::ErrorKind::InvalidData.into()));
    }
    Ok(bytes)
}

fn failed(action: &'static str, disk: &dyn Disk, name: &str, source: io::Error) -> IdentityError {
    IdentityError::Io { action, path: disk.path(name), source }
}
