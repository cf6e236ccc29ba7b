//! Opening the store that the arguments name, and closing it again.

use std::path::Path;
use std::sync::Arc;

use stemedb::archive::segment_source;
use stemedb::{OpenError, Options, Store, StoreReader, Upkeep};

use super::failure::Failure;
use super::{Globals, output, progress, secret};

/// Opens an existing store for `work` and closes it after. Threads of the work, which share the
/// store, have ended when it returns; that holds for all functions here.
pub(super) fn existing<T>(
    globals: &Globals,
    work: impl FnOnce(&Arc<Store>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    with(globals, options(globals)?.create(false), work)
}

/// Opens an existing store for `work` that only reads it, whether another process writes to it or
/// not: nothing is locked, and nothing in its directory changed.
pub(super) fn reading<T>(
    globals: &Globals,
    work: impl FnOnce(&StoreReader) -> Result<T, Failure>,
) -> Result<T, Failure> {
    work(&reader(&globals.store, options(globals)?)?)
}

/// As [`reading`], for `work` that takes a whole store and appends nothing.
pub(super) fn reading_as_store<T>(
    globals: &Globals,
    work: impl FnOnce(&Arc<Store>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    finish(reader(&globals.store, options(globals)?)?.into(), work)
}

/// Opens a store with these options for `work` and closes it after.
pub(super) fn with<T>(
    globals: &Globals,
    options: Options,
    work: impl FnOnce(&Arc<Store>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    finish(open(&globals.store, options)?, work)
}

/// Opens a store for `work`, made now if there is none, and closes it after.
pub(super) fn or_make<T>(
    globals: &Globals,
    options: Options,
    work: impl FnOnce(&Arc<Store>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    finish(make(globals, options)?, work)
}

/// Opens a store as [`or_make`] does, for `work` that can do without appending.
pub(super) fn or_make_or_read<T>(
    globals: &Globals,
    work: impl FnOnce(&Arc<Store>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    finish(make_or_read(globals)?, work)
}

/// Makes or opens a store. Where there is no room to put in order what a crash left, what is there
/// can still be read: then the store is opened for that alone.
fn make_or_read(globals: &Globals) -> Result<Store, Failure> {
    match make(globals, options(globals)?) {
        Err(Failure::Open(OpenError::Disk(failure))) if failure.is_full() => {
            output::note(format_args!("{failure}; until then the store is open for reading only"));
            Ok(reader(&globals.store, options(globals)?)?.into())
        }
        made => made,
    }
}

/// Does the work, and closes the store whatever its result, so that the next opening is quick.
fn finish<T>(
    store: Store,
    work: impl FnOnce(&Arc<Store>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let store = Arc::new(store);
    let outcome = work(&store);
    print_upkeep(&store);
    let closed = store.close();
    let value = outcome?;
    closed?;
    Ok(value)
}

fn make(globals: &Globals, options: Options) -> Result<Store, Failure> {
    let new = !Store::exists(&globals.store)?;
    let store = open(&globals.store, options.create(true))?;
    if new {
        output::note(format_args!("made a store at {}", globals.store.display()));
    }
    Ok(store)
}

/// The options that the arguments ask for.
pub(super) fn options(globals: &Globals) -> Result<Options, Failure> {
    let secret = globals.secret_file.as_deref().map(secret::read).transpose()?;
    let segment_source = globals.archive.as_deref().map(segment_source);
    let options = Options::default().secret(secret).segment_source(segment_source);
    #[cfg(feature = "zstd")]
    let options =
        if globals.compress { options.compression(stemedb::Compression::ZSTD) } else { options };
    Ok(options.lock_wait(globals.wait))
}

/// Opens a store and reports what opening had to do.
pub(super) fn open(dir: &Path, options: Options) -> Result<Store, Failure> {
    let store = progress::spin("opening the store", || Store::open(dir, options))?;
    print_warnings(&store);
    Ok(store)
}

/// Opens a store to read it and reports what opening found.
pub(super) fn reader(dir: &Path, options: Options) -> Result<StoreReader, Failure> {
    let reader = progress::spin("opening the store", || Store::open_read_only(dir, options))?;
    print_warnings(&reader);
    Ok(reader)
}

fn print_warnings(store: &StoreReader) {
    // A command that logs has written it to its log.
    if !tracing::enabled!(target: "stemedb_store", tracing::Level::WARN) {
        for remark in store.open_report().to_string().lines() {
            output::note(remark);
        }
    }
}

/// Reports what the store's threads could not do beside the work.
fn print_upkeep(store: &Store) {
    let Upkeep { checkpoint, mark, compression, .. } = store.upkeep();
    checkpoint.into_iter().chain(mark).chain(compression).for_each(output::note);
}

/// Stops a command that hashes bodies where the secret for it is missing.
pub(super) fn require_secret(store: &StoreReader, globals: &Globals) -> Result<(), Failure> {
    if store.lacks_secret() {
        return Err(Failure::SecretMissing { dir: globals.store.clone() });
    }
    Ok(())
}
