//! The archive: sealed segments and restart checkpoints on object storage, S3 or a directory.
//!
//! ```text
//!   PREFIX/objects/<2 hex digits>/<64 hex digits>   bytes, named by their BLAKE3 hash
//!   PREFIX/logs/<log>/manifest-<20 digits>.json     what of a log is there; the highest counts
//! ```
//!
//! Objects never change and are put only where there is none, so that sending something twice does
//! no harm and no writer undoes what another did. A manifest is put under the next number only if
//! that is free: of two writers one notices, reads what the other wrote, and goes on from there.
//!
//! Nothing that comes back is trusted. Each object is held against its name, each record against
//! its checksums and its id, the segments against one another, and all together against the roots
//! in the manifest; and that against the root that the caller of a restore expects.

mod blocking;
mod dropping;
mod error;
mod fetch;
mod list;
mod location;
mod manifest;
mod objects;
mod push;
mod restore;
mod scan;
mod verify;

use std::{env, ffi::OsString, sync::Arc};

use object_store::ObjectStore;

#[doc(hidden)]
pub use self::manifest::rewrite;
pub use self::{
    dropping::{Dropped, segment_source},
    error::{ArchiveError, Fault, RemoteError},
    list::{Listed, Selection},
    manifest::{LogName, ManifestFault, ParseLogNameError},
    push::{PushOptions, Pushed},
    restore::{RestoreOptions, Restored},
    verify::Verified,
};
pub use stemedb_store::store::Progress;

/// An archive. Clones are cheap and are the same archive.
#[derive(Clone, Debug)]
pub struct Archive {
    objects: Arc<dyn ObjectStore>,
    /// Prefix of all names in it: nothing, or names that each end with a slash.
    prefix: String,
    url: String,
}

impl Archive {
    /// The archive at a URL: `s3://BUCKET/PREFIX`, or `file:///DIRECTORY`, which has to be there.
    ///
    /// For S3 the environment says all else, as other programs have it: `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY` (or the variables of a container's or a web identity's role),
    /// `AWS_REGION`, `AWS_ENDPOINT_URL` for other servers than Amazon's, and `AWS_ALLOW_HTTP=true`
    /// where one may be spoken to without TLS. Nothing is asked of the network yet.
    ///
    /// # Errors
    ///
    /// If the URL or the environment can't be used, or there is no such directory.
    pub fn open(url: &str) -> Result<Self, ArchiveError> {
        Self::open_in(url, false, env::vars_os())
    }

    /// As [`open`](Self::open), but makes the directory if there is none.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn create(url: &str) -> Result<Self, ArchiveError> {
        Self::open_in(url, true, env::vars_os())
    }

    /// As [`open`](Self::open) or, with `create`, [`create`](Self::create), with these variables in
    /// place of the environment's.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_in(
        url: &str,
        create: bool,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ArchiveError> {
        location::open(url, create, variables)
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }
}
