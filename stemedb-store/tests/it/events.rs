//! Events that a store emits, for a program that listens to them.

use std::{
    fmt::{Debug, Write as _},
    fs, io,
    sync::{Arc, Mutex},
};

use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Target};
use stemedb_store::{Options, Store, store::ENVIRONMENT};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
    subscriber::with_default,
};

/// Lines of what was emitted in this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("stemedb")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// What was emitted while `work` was done.
fn events(work: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    with_default(lines.clone(), work);
    std::mem::take(&mut *lines.0.lock().unwrap())
}

fn has(events: &[String], level: &str, text: &str) -> bool {
    events.iter().any(|line| line.starts_with(level) && line.contains(text))
}

fn options() -> Options {
    Options::default().threads(false).segment_len(64 << 10)
}

#[test]
fn a_store_says_what_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let told = events(|| {
        let store = Store::open(dir.path(), options()).unwrap();
        for n in 0..20_u8 {
            store.append(&[n; 10_000]).unwrap();
        }
        store.root().unwrap();
        store.checkpoint().unwrap();
        store.close().unwrap();
    });
    for (level, text) in [
        ("DEBUG", "message=opened"),
        ("DEBUG", "message=the log goes on"),
        ("TRACE", "message=folded into the trees"),
        ("DEBUG", "message=a restart checkpoint was written"),
        ("DEBUG", "message=closed"),
    ] {
        assert!(has(&told, level, text), "{text}: {told:#?}");
    }
    assert!(!has(&told, "WARN", "") && !has(&told, "ERROR", ""), "{told:#?}");
}

fn once(operation: Operation) -> Fault {
    Fault {
        target: Target::Only(operation),
        after: 0,
        from_then_on: false,
        error: io::ErrorKind::Other,
        kind: FaultKind::Failed,
    }
}

#[test]
fn trouble_is_a_warning_or_an_error() {
    // A torn tail.
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), options()).unwrap();
    store.append(b"whole").unwrap();
    store.close().unwrap();
    let is_segment = |name: &str| name.starts_with("segment-");
    let segment = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut segment =
        segment.filter(|path| is_segment(path.file_name().unwrap().to_str().unwrap()));
    let segment = segment.next().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes.extend([0xab; 40]);
    fs::write(&segment, bytes).unwrap();
    let told = events(|| drop(Store::open(dir.path(), options()).unwrap()));
    assert!(has(&told, "WARN", "40 bytes"), "{told:#?}");

    // A sync that fails, and a checkpoint that can't be written.
    let disk = FaultyDisk::new(1);
    let store = Store::open_on(Arc::new(disk.clone()), ENVIRONMENT, options()).unwrap();
    store.append(b"one").unwrap();
    disk.inject(once(Operation::Create));
    let told = events(|| drop(store.checkpoint().unwrap_err()));
    assert!(has(&told, "WARN", "no restart checkpoint was written"), "{told:#?}");
    let told = events(|| drop(store.checkpoint().unwrap()));
    assert!(has(&told, "INFO", "was written again"), "{told:#?}");
    disk.inject(once(Operation::Sync));
    let told = events(|| drop(store.append(b"two").unwrap_err()));
    assert!(has(&told, "ERROR", "takes nothing more"), "{told:#?}");
}
