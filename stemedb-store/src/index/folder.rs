//! The thread that folds.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

use super::Index;

/// Folds when it is woken. Ends when it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    work: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Folder {
    pub(super) fn start(index: Arc<Index>) -> io::Result<Self> {
        let (work, inbox) = sync_channel(1);
        let fold = move || inbox.iter().for_each(|()| drop(index.folded()));
        let thread = thread::Builder::new().name("stemedb-fold".into()).spawn(fold)?;
        Ok(Self { work: Some(work), thread: Some(thread) })
    }

    pub(super) fn wake(&self) {
        if let Some(work) = &self.work {
            // If it does not fit the thread has been told already.
            let _ = work.try_send(());
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.work = None;
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, and has then been reported by the panic itself.
            let _ = thread.join();
        }
    }
}
