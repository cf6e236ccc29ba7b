//! Names of the crate root: what a caller must name to match an error or to fill an option.

use std::{any::type_name, sync::Arc, time::Duration};

use stemedb::{
    Action, AppendError, BackupError, BuildError, CheckpointError, CheckpointFault, ClockReport,
    CloseError, Copied, Damage, DamageKind, DiskError, Environment, Fault, HealError, HistoryError,
    HistoryProofError, IdentityError, LogAppendError, LogHealError, LogIndex, LogOpenError,
    LogReadError, LogRepairError, LogSize, LogWarning, MappedSetError, NTP64, NodeError, OpenError,
    OpenReport, Options, ParseProofError, Position, ProofError, ProveError, ReadError,
    ReadNodeError, RemoteError, RepairError, RepairOptions, ResolveError, RestoreError, Secret,
    SecretError, SecretTooShort, SegmentSource, SetAside, Store, TileError, Timestamp,
    TimestampRangeError, TreeFailure, TreeHead, Warning, WatchError, WriteError,
    archive::{PushOptions, RestoreOptions},
    node::{
        self,
        http::HttpOptions,
        options::{ArchivePolicy, ScrubPolicy, SyncPolicy},
    },
    rpc::{ClientOptions, ClientTls, ServerLimits, ServerOptions, ServerTls, SyncOptions},
    store::ENVIRONMENT,
    sync::{Config, Direction, Identity, Keys, Limits, report::Layer},
};
use stemedb_wal::{
    log::{LogOptions, Spares},
    repair::RepairOptions as LogRepairOptions,
};

/// All that an error of a store can hold has a name there.
#[test]
fn errors_are_named_by_the_root() {
    let names = [
        type_name::<Action>(),
        type_name::<AppendError>(),
        type_name::<BackupError>(),
        type_name::<BuildError>(),
        type_name::<CheckpointError>(),
        type_name::<CheckpointFault>(),
        type_name::<ClockReport>(),
        type_name::<CloseError>(),
        type_name::<Copied>(),
        type_name::<Damage>(),
        type_name::<DamageKind>(),
        type_name::<DiskError>(),
        type_name::<Fault>(),
        type_name::<HealError>(),
        type_name::<HistoryError>(),
        type_name::<HistoryProofError>(),
        type_name::<IdentityError>(),
        type_name::<LogAppendError>(),
        type_name::<LogHealError>(),
        type_name::<LogOpenError>(),
        type_name::<LogReadError>(),
        type_name::<LogRepairError>(),
        type_name::<LogWarning>(),
        type_name::<MappedSetError>(),
        type_name::<NodeError>(),
        type_name::<OpenError>(),
        type_name::<OpenReport>(),
        type_name::<ParseProofError>(),
        type_name::<ProofError>(),
        type_name::<ReadError>(),
        type_name::<RemoteError>(),
        type_name::<RepairError>(),
        type_name::<ResolveError>(),
        type_name::<RestoreError>(),
        type_name::<SecretError>(),
        type_name::<SecretTooShort>(),
        type_name::<SetAside>(),
        type_name::<TileError>(),
        type_name::<TimestampRangeError>(),
        type_name::<TreeFailure>(),
        type_name::<Warning>(),
        type_name::<WatchError>(),
        type_name::<WriteError>(),
        type_name::<ProveError<ReadNodeError<NodeError>>>(),
    ];
    assert!(names.iter().all(|name| name.contains("stemedb_")), "{names:?}");
}

/// A log that was damaged, asked for by its numbers, with errors matched to their end.
#[test]
fn options_and_numbers_are_named_by_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let source: Option<Arc<dyn SegmentSource>> = None;
    let secret = Some(Secret::new(&[7; 32]).unwrap());
    let options = Options::default().segment_source(source).secret(secret);
    let store = Store::open(dir.path(), options).unwrap();
    let receipt = store.append(b"one").unwrap();
    assert_eq!((receipt.index, store.log_size()), (LogIndex(0), LogSize(1)));
    assert!(receipt.position > Position(0) && receipt.time > Timestamp::MIN);
    let TreeHead { size, .. } = store.history_head().unwrap();
    assert_eq!(size, LogSize(1));
    let behind = store.prove_inclusion_at(LogIndex(1), LogSize(2));
    let beyond =
        matches!(behind, Err(ProveError::SizeOutOfRange { wanted: LogSize(2), size: LogSize(1) }));
    assert!(beyond, "{behind:?}");
    let nothing = store.get_at(Position(1 << 40));
    assert!(matches!(nothing, Err(ReadError::Log(LogReadError::NotFound { .. }))), "{nothing:?}");
    store.close().unwrap();
    let without = Store::open(dir.path(), Options::default().create(false)).unwrap();
    assert!(matches!(without.append(b"two"), Err(AppendError::SecretMissing)));
    drop(without);
    let clock = || NTP64(7 << 32);
    let environment = Environment { clock, ..ENVIRONMENT };
    assert_eq!((environment.clock)(), NTP64(7 << 32));
}

/// All options are made from outside, by setters that set their own field and no other.
#[test]
fn options_are_built_by_setters() {
    macro_rules! built {
        ($from:expr; $($field:ident: $value:expr),+ $(,)?) => {{
            let from = || $from;
            $(
                let shown = format!("{:#?}", from().$field($value));
                let mut expected = from();
                assert_ne!(shown, format!("{expected:#?}"), "{}: no change", stringify!($field));
                expected.$field = $value;
                assert_eq!(shown, format!("{expected:#?}"), "{}", stringify!($field));
            )+
        }};
    }
    let second = Duration::from_secs(1);
    built!(Options::default(); create: false, segment_len: 1 << 20, lock_wait: second,
        secret: Some(Secret::new(&[7; 32]).unwrap()), checkpoint_interval: second);
    built!(RepairOptions::default(); accept_loss: true, dry_run: true);
    built!(LogOptions::default(); segment_len: 1 << 20, spares: Spares::None);
    let log = LogOptions::default();
    built!(LogRepairOptions::new(&log); accept_loss: true);
    built!(ClientOptions::default(); retries_max: 0, tls: Some(ClientTls::new(Vec::new())));
    built!(ServerOptions::default(); reflection: true,
        limits: ServerLimits::default().calls_max(1));
    built!(ServerTls::new(Vec::new(), Vec::new()); client_ca: Some(Vec::new()));
    built!(ClientTls::new(Vec::new()); server_name: Some("a.example".into()));
    built!(ServerLimits::default(); calls_max: 1, stop_time_max: second);
    built!(SyncOptions::default(); direction: Direction::Pull, without: vec![Layer::Bulk]);
    built!(Limits::default(); levels: 3, count_max: 1, idle_time_max: second);
    let identity = Identity { node: [1; 16], epoch: 1, keys: Keys::new(None) };
    built!(Config::new(identity.clone(), [2; 32]); seed: [3; 32], direction: Direction::Push,
        limits: Limits::default().levels(3));
    built!(PushOptions::default(); seal: true, again: true);
    built!(RestoreOptions::default(); root: Some(stemedb::Root([7; 32])), trust_checkpoint: true);
    built!(node::Options::default(); gossip: false, http: None,
        archive: Some(ArchivePolicy::new("file:///a".into())));
    built!(HttpOptions::default(); hosts: vec!["node-1.example".into()], idle_max: second);
    built!(SyncPolicy::default(); sessions_max: 1, cpu_share: 0.5);
    built!(ScrubPolicy::default(); bytes_per_second: 1, interval: second);
    built!(ArchivePolicy::new("file:///a".into()); url: "file:///b".into(), interval: second);
}
