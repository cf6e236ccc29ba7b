//! Decisions of the fence.

use std::collections::BTreeSet;

use stemedb_merkle::{
    LogSize, Root,
    history::{MemoryHistory, leaf_hash},
};
use stemedb_tlog::{
    fence::{Fence, FenceDecision, FenceRead, SignerIdentity, Signing, decide},
    name::KeyName,
};

use super::{
    cases,
    checkpoints::{ORIGIN, entry, tree},
    hex, text, verifier_key,
};

/// The root of the log at a size; from an entry on its bodies begin with `fork `.
fn root_at(size: LogSize, differs_from: Option<u64>) -> Root {
    let Some(from) = differs_from else { return tree().head_at(size).unwrap().root };
    let leaves = (0..size.0).map(|index| {
        let (time, id) = entry(index);
        let forked = *blake3::hash(format!("fork {index}").as_bytes()).as_bytes();
        leaf_hash(time, if index < from { &id } else { &forked })
    });
    leaves.collect::<MemoryHistory>().root()
}

#[test]
fn fence() {
    let mut words = BTreeSet::new();
    let fields = "what key store node epoch log_size log_differs_from fence record new_log \
                  continue decision";
    for case in cases("fence", fields) {
        let origin = KeyName::new(ORIGIN).unwrap();
        let key = verifier_key(text(&case["key"]));
        let signing = Signing {
            origin: &origin,
            keys: &[key],
            signer: SignerIdentity {
                store: hex(&case["store"]).try_into().unwrap(),
                node: hex(&case["node"]).try_into().unwrap(),
                epoch: case["epoch"].as_u64().unwrap(),
            },
            size: LogSize(case["log_size"].as_u64().unwrap()),
            new_log: case["new_log"].as_bool().unwrap(),
            continues: case["continue"].as_bool().unwrap(),
        };
        let record = case["record"].as_str().map(str::as_bytes);
        let fence = case["fence"].as_str().map(str::as_bytes);
        let read = fence.map_or(FenceRead::Absent, FenceRead::File);
        let differs_from = case["log_differs_from"].as_u64();
        let root_at = |size| root_at(size, differs_from);
        let decision = decide(&signing, record, read, root_at);
        assert_eq!(decision.as_str(), text(&case["decision"]), "{}", case["what"]);
        words.insert(decision.as_str());

        let unreachable = decide(&signing, record, FenceRead::Unreachable, root_at);
        assert_eq!(unreachable, FenceDecision::Unreachable);
        for file in [fence, record].into_iter().flatten() {
            if let Ok(fence) = Fence::parse(file) {
                assert_eq!(fence.write().as_bytes(), file);
            }
        }
    }
    assert!(words.len() >= 11, "{words:?}");
}
