//! `SQLite`: a table of bodies, one transaction.

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection;

use crate::Failure;
use crate::body::BODY_LEN;
use crate::contest::Sample;
use crate::setting::disk_bytes;

/// Inserts all bodies of `arena` and commits once, synced.
pub(crate) fn bulk(dir: &Path, arena: &[u8]) -> Result<Sample, Failure> {
    let mut database = Connection::open(dir.join("bodies.sqlite"))?;
    // A new file has no old pages to journal, so each page is written once; in write-ahead mode
    // each is written twice.
    database.pragma_update(None, "page_size", 16384)?;
    database.pragma_update(None, "journal_mode", "DELETE")?;
    database.pragma_update(None, "cache_size", -65536)?;
    database.pragma_update(None, "synchronous", "FULL")?;
    database
        .execute_batch("CREATE TABLE body (number INTEGER PRIMARY KEY, bytes BLOB NOT NULL)")?;
    let records = arena.len() / BODY_LEN;
    let started = Instant::now();
    let transaction = database.transaction()?;
    {
        let mut insert = transaction.prepare("INSERT INTO body (bytes) VALUES (?1)")?;
        for body in arena.chunks_exact(BODY_LEN) {
            insert.execute([body])?;
        }
    }
    transaction.commit()?;
    let seconds = started.elapsed().as_secs_f64();
    drop(database);
    let per_record = disk_bytes(dir)? as f64 / records as f64;
    Ok(vec![
        ("records/s", records as f64 / seconds),
        ("ms", seconds * 1e3),
        ("B/record", per_record),
    ])
}
