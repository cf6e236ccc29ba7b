//! Every operation of the disk fails, once and from then on; the disk fills up.

use crate::history::{LogHarness, ModelEntry, ORIGIN, body_of, id_of, open};
use std::{
    io,
    sync::{Arc, Mutex},
};

use stemedb_merkle::Timestamp;

use stemedb_simdisk::{Fault, FaultKind, FaultyDisk, Operation, Survival, Target};
use stemedb_wal::{
    disk::Disk,
    error::{AppendError, OpenError},
    log::{Log, LogOptions, NewRecord, Origin, Spares, Watermark},
};

fn options() -> LogOptions {
    LogOptions::default().segment_len(1200).spares(Spares::None)
}

/// A short life of a log: what was acknowledged in it, and all that was tried.
#[derive(Default)]
struct Life {
    tried: Vec<Vec<u8>>,
    acknowledged: usize,
    clean: Option<Watermark>,
    error: Option<String>,
}

/// Lives until something fails. After that nothing may succeed any more.
fn live(disk: &FaultyDisk, life: &mut Life) -> Result<(), String> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    for round in 0..3_u64 {
        let origin = Origin { clean: life.clean, ..ORIGIN };
        let (mut log, _, _) = open(&shared, &origin, &options(), None)
            .map_err(|error| check_open_error(&error).to_string())?;
        for n in 0..6 {
            let bodies: Vec<Vec<u8>> = (0..=n % 3)
                .map(|k| body_of(round * 100 + n * 10 + k, usize::try_from(n * 61 + k).unwrap()))
                .collect();
            let records: Vec<NewRecord<'_>> = bodies
                .iter()
                .map(|body| NewRecord { id: id_of(body), body, heals: None })
                .collect();
            life.tried.extend(bodies.iter().cloned());
            let result = log
                .write(&records, Timestamp::MIN, &mut Vec::new())
                .and_then(|()| if n == 3 { Ok(()) } else { log.sync() });
            if let Err(error) = result {
                check_poisoned(&mut log, &error);
                return Err(error.to_string());
            }
            if n != 3 {
                life.acknowledged = life.tried.len();
            }
            log.publish();
        }
        if round == 1 {
            continue;
        }
        life.clean = Some(log.close().map_err(|error| error.to_string())?);
        life.acknowledged = life.tried.len();
    }
    Ok(())
}

fn check_open_error(error: &OpenError) -> &OpenError {
    assert!(matches!(error, OpenError::Disk(_)), "a failing disk is no damage: {error}");
    error
}

fn check_poisoned(log: &mut Log, error: &AppendError) {
    let AppendError::Poisoned(first) = error else { panic!("{error}") };
    assert!(error.to_string().contains("until the store is reopened"), "{error}");
    let record = NewRecord { id: id_of(b"x"), body: b"x", heals: None };
    for again in [
        log.write(&[record], Timestamp::MIN, &mut Vec::new()).unwrap_err(),
        log.sync().unwrap_err(),
        log.mark().unwrap_err(),
    ] {
        let AppendError::Poisoned(again) = &again else { panic!("{again}") };
        assert_eq!(
            again.to_string(),
            first.to_string(),
            "the first failure is the one that counts"
        );
    }
}

/// The log opens, and holds what was acknowledged and nothing that was not tried.
fn check(disk: &FaultyDisk, life: &Life) -> Result<(), String> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let origin = Origin { clean: life.clean, ..ORIGIN };
    let (log, report, replayed) =
        open(&shared, &origin, &options(), None).map_err(|error| error.to_string())?;
    if replayed.len() < life.acknowledged {
        return Err(format!(
            "{} acknowledged, {} found: {:?}",
            life.acknowledged,
            replayed.len(),
            report.warnings
        ));
    }
    let bodies: Vec<&[u8]> = replayed.iter().map(|entry| &*entry.body).collect();
    let tried: Vec<&[u8]> = life.tried.iter().map(|body| &**body).collect();
    if !tried.starts_with(&bodies) {
        return Err("something else than was tried".into());
    }
    log.close().map(drop).map_err(|error| error.to_string())
}

#[test]
fn any_operation_can_fail() {
    let mut failures = 0;
    for from_then_on in [false, true] {
        for kind in [FaultKind::Failed, FaultKind::Persisted, FaultKind::Partial] {
            for after in 0.. {
                let disk = FaultyDisk::new(after);
                let error = io::ErrorKind::Other;
                disk.inject(Fault { target: Target::Any, after, from_then_on, error, kind });
                let mut life = Life::default();
                life.error = live(&disk, &mut life).err();
                if disk.faults_hit() == 0 {
                    assert_eq!(life.error, None);
                    break;
                }
                failures += 1;
                disk.clear_faults();
                let context = format!("{kind:?} at {after}, from then on {from_then_on}");
                // Opened again by another process, and after a power cut of each kind.
                check(&disk.fork(), &life)
                    .unwrap_or_else(|error| panic!("{context}: {error}\nafter {:?}", life.error));
                for (seed, survival) in (0..).zip(Survival::ALL) {
                    check(&disk.power_cut(survival, seed), &life).unwrap_or_else(|error| {
                        panic!("{context}, {survival:?}: {error}\nafter {:?}", life.error)
                    });
                }
            }
        }
    }
    println!("{failures} failures");
    assert!(failures > 500);
}

#[test]
fn recovery_can_fail_at_any_operation_and_be_tried_again() {
    // A log with a torn tail and a spare, as a power cut leaves it.
    let disk = FaultyDisk::new(1);
    let mut harness = LogHarness::new(Arc::new(disk.clone()), options());
    for _ in 0..5 {
        harness.append(&[100, 200], 0);
    }
    let model: Vec<ModelEntry> = harness.model().to_vec();
    let body = body_of(9, 2000);
    let record = NewRecord { id: id_of(&body), body: &body, heals: None };
    harness.log_mut().write(&[record], Timestamp::MIN, &mut Vec::new()).unwrap();
    let mut torn = 0;
    for seed in 0..20 {
        let cut = disk.power_cut(Survival::Sectors, seed);
        cut.put("IDENTITY.tmp", b"left over").unwrap();
        for from_then_on in [false, true] {
            for kind in [FaultKind::Failed, FaultKind::Persisted, FaultKind::Partial] {
                for after in 0.. {
                    let disk = cut.fork();
                    let error = io::ErrorKind::Other;
                    disk.inject(Fault { target: Target::Any, after, from_then_on, error, kind });
                    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
                    let result = open(&shared, &ORIGIN, &options(), None);
                    if let Err(error) = &result {
                        check_open_error(error);
                    }
                    if disk.faults_hit() == 0 {
                        let (_, report, replayed) = result.unwrap();
                        torn += u64::from(report.warnings.len() > 1);
                        assert!(replayed.len() >= model.len());
                        break;
                    }
                    drop(result);
                    disk.clear_faults();
                    for survival in Survival::ALL {
                        let shared: Arc<dyn Disk> = Arc::new(disk.power_cut(survival, seed));
                        let (_, _, replayed) = open(&shared, &ORIGIN, &options(), None)
                            .unwrap_or_else(|error| panic!("{kind:?} {after}: {error}"));
                        assert_eq!(replayed[..model.len()], model);
                    }
                }
            }
        }
    }
    assert!(torn > 0, "no tail was torn");
}

#[test]
fn a_full_disk_fails_the_append_that_does_not_fit_and_no_other() {
    for capacity in (1300..6000).step_by(37) {
        let disk = FaultyDisk::new(capacity);
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        disk.set_capacity(Some(capacity));
        let (mut log, _, _) = open(&shared, &ORIGIN, &options(), None).unwrap();
        let mut acknowledged = Vec::new();
        let error = loop {
            let body = body_of(acknowledged.len() as u64, 150);
            let record = NewRecord { id: id_of(&body), body: &body, heals: None };
            match log.write(&[record], Timestamp::MIN, &mut Vec::new()).and_then(|()| log.sync()) {
                Ok(()) => acknowledged.push(body),
                Err(error) => break error,
            }
        };
        let AppendError::Poisoned(failure) = &error else { panic!("{error}") };
        assert!(failure.is_full(), "{error}");
        assert!(error.to_string().contains("no room"), "{error}");
        assert!(!acknowledged.is_empty());
        drop(log);
        // It opens on the full disk, with all that was acknowledged.
        let reopened = open(&shared, &ORIGIN, &options(), None);
        let (log, _, replayed) = reopened.unwrap_or_else(|error| panic!("{capacity}: {error}"));
        let bodies: Vec<&Vec<u8>> = replayed.iter().map(|entry| &entry.body).collect();
        assert_eq!(bodies[..acknowledged.len()], acknowledged.iter().collect::<Vec<_>>());
        drop(log);
        // And goes on once there is room.
        disk.set_capacity(None);
        let (mut log, _, replayed) = open(&shared, &ORIGIN, &options(), None).unwrap();
        let body = body_of(77, 1000);
        let record = NewRecord { id: id_of(&body), body: &body, heals: None };
        log.write(&[record], Timestamp::MIN, &mut Vec::new()).unwrap();
        log.close().unwrap();
        let (_, _, after) = open(&shared, &ORIGIN, &options(), None).unwrap();
        assert_eq!(after.len(), replayed.len() + 1);
    }
}

#[test]
fn a_failed_sync_is_not_retried() {
    let disk = FaultyDisk::new(1);
    let mut harness = LogHarness::new(Arc::new(disk.clone()), options());
    harness.append(&[10], 0);
    let body = body_of(5, 30);
    let record = NewRecord { id: id_of(&body), body: &body, heals: None };
    harness.log_mut().write(&[record], Timestamp::MIN, &mut Vec::new()).unwrap();
    disk.inject(Fault {
        target: Target::Only(Operation::Sync),
        after: 0,
        from_then_on: false,
        error: io::ErrorKind::Other,
        kind: FaultKind::Failed,
    });
    harness.log_mut().sync().unwrap_err();
    let before = disk.operations(Target::Any);
    harness.log_mut().sync().unwrap_err();
    harness.log_mut().mark().unwrap_err();
    assert_eq!(disk.operations(Target::Any), before, "the disk is not asked again");

    // The page cache shows what the disk does not hold. Whoever opens the log now serves it, so it
    // has to be durable by then.
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (_, _, replayed) = open(&shared, &ORIGIN, &options(), None).unwrap();
    assert_eq!(replayed.len(), 2);
    let cut: Arc<dyn Disk> = Arc::new(disk.power_cut(Survival::Nothing, 1));
    let (_, _, after) = open(&cut, &ORIGIN, &options(), None).unwrap();
    assert_eq!(after, replayed);
}

#[test]
fn the_same_calls_give_the_same_operations() {
    let trace = || {
        let disk = FaultyDisk::new(4);
        let trace: Arc<Mutex<Vec<String>>> = Arc::default();
        {
            let trace = Arc::clone(&trace);
            disk.observe(move |moment| {
                trace.lock().unwrap().push(format!("{:?} {}", moment.operation, moment.name));
            });
        }
        let mut life = Life::default();
        live(&disk, &mut life).unwrap();
        disk.stop_observing();
        Arc::into_inner(trace).unwrap().into_inner().unwrap()
    };
    assert_eq!(trace(), trace());
}

/// A batch that is written in several pieces is whole or torn, and never damage, whichever piece is
/// the last: the process is killed there, or the power fails.
#[test]
fn a_batch_of_several_pieces_can_end_at_any_of_them() {
    let options = LogOptions::default().segment_len(16 << 20).spares(Spares::None);
    let bodies: Vec<Vec<u8>> = (1..8).map(|n| body_of(n, 500_000)).collect();
    let records: Vec<NewRecord<'_>> =
        bodies.iter().map(|body| NewRecord { id: id_of(body), body, heals: None }).collect();
    let mut pieces = 0;
    for kind in [FaultKind::Failed, FaultKind::Persisted, FaultKind::Partial] {
        for after in 0.. {
            let disk = FaultyDisk::new(after);
            let shared: Arc<dyn Disk> = Arc::new(disk.clone());
            let (mut log, _, _) = open(&shared, &ORIGIN, &options, None).unwrap();
            let first = body_of(0, 100);
            let record = NewRecord { id: id_of(&first), body: &first, heals: None };
            log.write(&[record], Timestamp::MIN, &mut Vec::new()).unwrap();
            log.sync().unwrap();
            let target = Target::Only(Operation::Write);
            let error = io::ErrorKind::Other;
            disk.inject(Fault { target, after, from_then_on: true, error, kind });
            let written = log.write(&records, Timestamp::MIN, &mut Vec::new());
            drop(log);
            disk.clear_faults();
            let check = |disk: FaultyDisk, cut: &str| {
                let disk: Arc<dyn Disk> = Arc::new(disk);
                let (_, _, replayed) =
                    open(&disk, &ORIGIN, &options, None).unwrap_or_else(|error| {
                        panic!("{kind:?} after {after} writes, {cut}: {error}")
                    });
                assert!([1, 1 + records.len()].contains(&replayed.len()), "{}", replayed.len());
                assert_eq!(replayed[0].body, first);
            };
            check(disk.fork(), "killed");
            for survival in Survival::ALL {
                for seed in 0..3 {
                    let cut = format!("{survival:?}, seed {seed}");
                    check(disk.power_cut(survival, seed), &cut);
                }
            }
            if written.is_ok() {
                break;
            }
            pieces += 1;
        }
    }
    assert!(pieces > 3 * 2, "{pieces} pieces failed");
}
