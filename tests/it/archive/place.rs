//! A directory with stores and an archive of theirs.

use std::{fs, ops::Range, path::PathBuf, sync::Arc};

use stemedb::{
    Head, Options, Store, Timestamp,
    archive::{Archive, Fault, PushOptions, Pushed, Selection},
    node::{archiver, options::ArchivePolicy, status::ArchiveStatus},
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

pub(super) fn options() -> Options {
    Options::default().segment_len(16 << 10)
}

pub(super) fn body(n: u64) -> Vec<u8> {
    format!("assertion {n} {}", "x".repeat((n % 200) as usize)).into_bytes()
}

pub(super) fn append(store: &Store, range: Range<u64>) {
    for n in range.step_by(50) {
        store.append_batch((n..n + 50).map(body)).unwrap();
    }
}

/// A node's loop that archives a store: what it tells, what stops it when dropped, and the task.
pub(super) fn archiver(
    store: Arc<Store>,
    policy: ArchivePolicy,
) -> (mpsc::UnboundedReceiver<ArchiveStatus>, oneshot::Sender<()>, JoinHandle<()>) {
    let (told, status) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let observer = move |status| drop(told.send(status));
    let running = tokio::spawn(archiver::run(store, policy, observer, async {
        drop(stopped.await);
    }));
    (status, stop, running)
}

pub(super) fn roots(head: Head) -> Head {
    Head { last_time: Timestamp::MIN, ..head }
}

pub(super) struct Place {
    dir: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn archive(&self) -> Archive {
        Archive::create(&format!("file://{}", self.join("archive").display())).unwrap()
    }

    pub(super) fn store(&self, name: &str) -> Arc<Store> {
        Arc::new(Store::open(self.join(name), options()).unwrap())
    }

    /// All objects of the archive, by length.
    pub(super) fn objects(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for dir in fs::read_dir(self.join("archive/objects")).unwrap() {
            found.extend(
                fs::read_dir(dir.unwrap().path()).unwrap().map(|file| file.unwrap().path()),
            );
        }
        found.sort_by_key(|path| (fs::metadata(path).unwrap().len(), path.clone()));
        found
    }
}

pub(super) async fn push(archive: &Archive, store: &Arc<Store>) -> Pushed {
    archive.push(store, PushOptions::default(), |_| {}).await.unwrap()
}

pub(super) async fn faults(archive: &Archive) -> Vec<Fault> {
    let verified = archive.verify(&Selection::default(), true, None, |_| {}).await.unwrap();
    verified.faults
}
