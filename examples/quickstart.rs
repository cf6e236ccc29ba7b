//! Append, read, ask for the roots, close, and open again.
//!
//! ```sh
//! cargo run --example quickstart
//! ```

use std::error::Error;

use stemedb::{Options, Store};

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;

    // The directory becomes a store if it is none yet.
    let store = Store::open(dir.path(), Options::default())?;
    let receipt = store.append(b"the sky is blue")?;
    println!("durable   {}, entry {} of the log", receipt.id, receipt.index);

    // The id is the BLAKE3 hash of the bytes: the same bytes are the same assertion, held once.
    let again = store.append(b"the sky is blue")?;
    assert!(again.duplicate, "what is held already is not written again");
    assert_eq!((again.id, again.index), (receipt.id, receipt.index));
    println!("again     a duplicate, with the receipt of the first time");

    // Together, and all durable with few syncs.
    let lines = (0..1_000).map(|n| format!("reading {n} is {} mm", n * 37 % 4001));
    let receipts = store.append_batch(lines)?;
    println!("batch     {} more, all durable", receipts.len());

    let body = store.get(&receipt.id)?;
    assert_eq!(body.as_deref(), Some(&b"the sky is blue"[..]));
    println!("get       {}", String::from_utf8_lossy(&body.unwrap_or_default()));

    for entry in store.iter().rev().take(2) {
        let entry = entry?;
        println!("log       entry {} is {}, {} bytes", entry.index, entry.id, entry.len);
    }

    let head = store.head()?;
    assert_eq!((head.count, head.log_size.get()), (1_001, 1_001));
    println!("set root  {}, over {} ids", head.set_root, head.count);
    println!("log root  {}, over {} entries", head.log_root, head.log_size);

    // After a close, as after a crash, all that was acknowledged is there.
    store.close()?;
    let store = Store::open(dir.path(), Options::default())?;
    assert_eq!(store.head()?, head);
    println!("reopened  the same roots");
    store.close()?;
    Ok(())
}
