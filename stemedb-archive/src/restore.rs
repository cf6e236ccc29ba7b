//! Makes a store from an archived log.

mod site;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use stemedb_merkle::Root;
use stemedb_wal::{
    disk::{Disk, FileDisk},
    error::{Action, DiskError},
};

use self::site::Site;
use super::{
    Archive, ArchiveError, Progress, Selection, blocking::blocking, manifest::PART_LEN, scan::Scan,
    verify::hashing,
};
#[cfg(doc)]
use stemedb_store::Store;
use stemedb_store::{Head, options::Secret};

stemedb_merkle::options! {
    /// Options of a restore.
    #[derive(Clone, Debug)]
    pub struct RestoreOptions {
        /// Which log. Default: the only one.
        pub selection: Selection = Selection::default(),
        /// The set root that the archive has to have. Default: whatever it has.
        pub root: Option<Root> = None,
        /// The secret of the store that was archived, if it has one.
        pub secret: Option<Secret> = None,
        /// Whether the set tree is taken from the archived restart checkpoint instead of being
        /// built from the log, which takes 100 bytes of memory an assertion. All else is checked as
        /// otherwise. Default: no.
        pub trust_checkpoint: bool = false,
    }
}

/// Result of a restore.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Restored {
    /// Head of the store.
    pub head: Head,
    /// Its node id, which no other directory has.
    pub node_id: [u8; 16],
    /// The epoch of its log.
    pub epoch: u64,
    /// How many segments it has.
    pub segments: u64,
    /// How many bytes were fetched; what an interrupted restore left is not fetched again.
    pub bytes: u64,
}

impl Archive {
    /// Makes a store in a new directory from an archived log: a node of its own, with an id and an
    /// epoch of its own. What the others have beyond that, a session brings.
    ///
    /// Everything is checked on the way: objects against their names, records against checksums and
    /// ids, and all together against the roots in the manifest and the one that is expected. Only
    /// after that there is something that opens as a store. What an interrupted restore leaves can
    /// be gone on with, or removed. One segment at a time is in memory. `progress` hears of bytes.
    ///
    /// # Errors
    ///
    /// See [`ArchiveError`]. There is then no store.
    pub async fn restore(
        &self,
        dir: &Path,
        options: RestoreOptions,
        progress: impl FnMut(Progress),
    ) -> Result<Restored, ArchiveError> {
        let path = dir.to_path_buf();
        let make = move || {
            let made = FileDisk::create(&path);
            let made =
                made.map_err(|source| DiskError::new(Action::Create, path.clone(), source))?;
            Ok((path, Arc::new(made) as Arc<dyn Disk>))
        };
        self.restore_on(make, options, progress).await
    }

    /// The same in a directory of any kind, which is made only where something can be restored.
    async fn restore_on(
        &self,
        make: impl FnOnce() -> Result<(PathBuf, Arc<dyn Disk>), ArchiveError> + Send + 'static,
        options: RestoreOptions,
        mut progress: impl FnMut(Progress),
    ) -> Result<Restored, ArchiveError> {
        let (_, manifest) = self.select(&options.selection).await?;
        if let Some(expected) = options.root.filter(|root| root.0 != manifest.set_root.0) {
            let found = Root(manifest.set_root.0).to_string();
            return Err(ArchiveError::OtherRoot { found, expected: expected.to_string() });
        }
        let hashing = hashing(&manifest, options.secret.as_ref())?;
        let trust = options.trust_checkpoint && manifest.checkpoint.is_some();
        let manifest = Arc::new(manifest);
        let shared = Arc::clone(&manifest);
        let begin = move || Site::begin(make()?, &shared, Scan::new(Some(hashing), !trust));
        let mut site = blocking(begin).await?;
        let (mut fetched, mut done) = (0, 0);
        let total = if trust { manifest.bytes() } else { manifest.log_bytes() };
        for archived in &manifest.segments {
            progress(Progress { done, total });
            let left = archived.clone();
            let (back, there) = blocking(move || {
                let there = site.left_over(&left)?;
                Ok((site, there))
            })
            .await?;
            site = back;
            let is_new = there.is_none();
            let bytes = if let Some(bytes) = there {
                bytes
            } else {
                fetched += archived.len;
                self.get_file(archived.len, &archived.parts).await?
            };
            let (shared, archived) = (Arc::clone(&manifest), archived.clone());
            done += archived.len;
            site = blocking(move || {
                site.take(&shared, &archived, &bytes, is_new)?;
                Ok(site)
            })
            .await?;
        }
        if trust {
            for file in manifest.checkpoint.iter().flat_map(|checkpoint| &checkpoint.files) {
                let mut offset = 0;
                for part in &file.parts {
                    progress(Progress { done, total });
                    let wanted = (file.len - offset).min(PART_LEN as u64);
                    let bytes = self.get_part(&part.0, wanted).await?;
                    let name = file.name.clone();
                    site = blocking(move || {
                        site.write_part(&name, &bytes, offset)?;
                        Ok(site)
                    })
                    .await?;
                    offset += wanted;
                    done += wanted;
                    fetched += wanted;
                }
            }
        }
        progress(Progress { done, total });
        let secret = options.secret;
        blocking(move || site.finish(&manifest, secret, fetched)).await
    }
}

#[cfg(test)]
mod tests {
    use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Target};

    use super::*;
    use crate::PushOptions;
    use stemedb_store::{
        options::Options,
        store::{ENVIRONMENT, Store},
    };

    /// Any call may fail, once or from then on: the next attempt finds nothing in its way,
    /// and until one succeeds there is nothing that opens.
    #[tokio::test]
    async fn a_restore_that_failed_late_can_be_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::default().threads(false).segment_len(4 << 10);
        let store = Arc::new(Store::open(dir.path().join("store"), options.clone()).unwrap());
        store.append_batch((0..50_u8).map(|n| [n; 100])).unwrap();
        let url = format!("file://{}", dir.path().join("archive").display());
        let archive = Archive::create(&url).unwrap();
        let all = PushOptions::default().seal(true);
        let root = archive.push(&store, all, |_| {}).await.unwrap().head.set_root;
        let attempt = |disk: &FaultyDisk, trust_checkpoint| {
            let target = ("to".into(), Arc::new(disk.clone()) as Arc<dyn Disk>);
            let options = RestoreOptions::default().trust_checkpoint(trust_checkpoint);
            archive.restore_on(move || Ok(target), options, |_| {})
        };
        for (target, kind, from_then_on) in [
            (Target::Any, FaultKind::Failed, false),
            (Target::Any, FaultKind::Failed, true),
            (Target::Mutating, FaultKind::Persisted, false),
            (Target::Mutating, FaultKind::Persisted, true),
        ] {
            let mut failed = 0;
            for after in 0.. {
                let disk = FaultyDisk::new(after);
                let error = std::io::ErrorKind::Other;
                disk.inject(Fault { target, after, from_then_on, error, kind });
                let first = attempt(&disk, after % 2 == 0).await;
                let hit = disk.faults_hit() > 0;
                disk.clear_faults();
                let open = || {
                    let options = options.clone().create(false);
                    Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options)
                };
                // Whole, if need be but for the last sync.
                if !matches!(first, Ok(_) | Err(ArchiveError::NotSynced { .. })) {
                    failed += 1;
                    assert!(open().is_err(), "{kind:?} {after}");
                    let again = attempt(&disk, false).await;
                    assert_eq!(again.unwrap().head.set_root, root, "{kind:?} {after}");
                }
                assert_eq!(open().unwrap().root().unwrap(), root, "{kind:?} {after}");
                if !hit {
                    break;
                }
            }
            assert!(failed > 20, "{failed} attempts failed");
        }
    }
}
