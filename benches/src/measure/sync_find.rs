//! What two stores lack of each other: bytes, rounds and processor time until that is known.

use std::time::Duration;

use stemedb_sync::message::Kind;

use crate::Failure;
use crate::contest::{Bar, Contest, Role, Sample};
use crate::cpu;
use crate::differing::Differing;
use crate::ours::session::{Cpu, Plan, hold};
use crate::ours::side::Side;
use crate::peer::{negentropy, search_tree_sync};
use crate::setting::Setting;

/// Ids of both sets together.
pub(crate) const IDS: u64 = 1_000_000;

/// What gRPC puts before each message.
pub(crate) const PREFIX_LEN: usize = 5;

const OURS: &str = "stemedb-sync";

/// Bytes, rounds, and processor time of initiator and responder of sessions over the same sets.
pub(crate) fn sample(held: &[(u64, u64, Duration, Duration)]) -> Sample {
    let median = |time: fn(&(u64, u64, Duration, Duration)) -> Duration| {
        let mut times: Vec<Duration> = held.iter().map(time).collect();
        times.sort_unstable();
        times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    let first = held.first().copied().unwrap_or_default();
    vec![
        ("B both ways", first.0 as f64),
        ("rounds", first.1 as f64),
        ("ms CPU, initiator", median(|held| held.2)),
        ("ms CPU, responder", median(|held| held.3)),
    ]
}

/// Bytes of the bodies that differ: what moving them costs is another measure.
const SHORT: usize = 8;

/// Sessions between the same two stores, which differ by other bodies each time, and of which
/// nothing is in the caches at first.
pub(crate) fn find(sets: &Differing, plan: &Plan, sessions: u64) -> Result<Sample, Failure> {
    let side = |node| Ok::<_, Failure>(Side::new(node, sets.common())?.with_body_len(SHORT));
    let (mut one, mut other) = (side(1)?, side(2)?);
    let mut held = Vec::new();
    let mut heat = Vec::new();
    for session in 0..sessions {
        for (side, first) in [(&mut one, 0), (&mut other, sets.by / 2)] {
            let first = sets.first + session * sets.by + first;
            let ids: Vec<_> =
                (first..first + sets.by / 2).map(|number| side.know(number)).collect();
            side.insert(&ids)?;
        }
        cpu::cool(&mut heat);
        let mut cpu = Cpu::default();
        let report = hold(&mut one, &mut other, plan, &mut cpu)?.report;
        if [report.only_mine, report.only_theirs] != [sets.by / 2; 2] || !report.equal {
            return Err("the session did not find all differences".into());
        }
        let traffic = |kind| {
            let traffic = report.traffic_of(kind);
            traffic.sent + traffic.received
        };
        let pushed = report.traffic_of(Kind::Push).received;
        let bytes = report.reconcile_bytes() - traffic(Kind::Finish) - pushed;
        held.push((bytes, report.rounds, cpu.initiator, cpu.responder));
    }
    Ok(sample(&held))
}

/// How far sets may differ, and what finding that out may cost.
struct Asked {
    by: u64,
    bytes: (&'static str, f64),
    rounds: (&'static str, f64),
    ms: (&'static str, f64),
}

fn contest(setting: &Setting, asked: &Asked) -> Result<Contest, Failure> {
    let union = setting.records(IDS);
    // A tenth of a small difference would be none.
    let by = if asked.by > 1_000 { setting.records(asked.by) } else { asked.by };
    let sessions: u64 = if by > 1_000 { 1 } else { 15 };
    let mut contest = Contest::new(7);
    let mut sets = rounds_of(union, by);
    contest.add(OURS, Role::Ours, move || find(&sets(), &Plan::default(), sessions));
    let mut sets = rounds_of(union, by);
    contest.add("negentropy", Role::Peer, move || negentropy::find(&sets(), sessions as usize));
    let mut sets = rounds_of(union, by);
    contest.add("merkle-search-tree", Role::Peer, move || search_tree_sync::find(&sets()));
    contest.add("the ids that differ", Role::Limit, move || {
        Ok(vec![("B both ways", 32.0 * by as f64)])
    });
    contest.goal(asked.bytes.0, OURS, "B both ways", Bar::AtMost(asked.bytes.1));
    contest.goal(asked.rounds.0, OURS, "rounds", Bar::AtMost(asked.rounds.1));
    contest.goal(asked.ms.0, OURS, "ms CPU, initiator", Bar::AtMost(asked.ms.1));
    contest.goal(asked.ms.0, OURS, "ms CPU, responder", Bar::AtMost(asked.ms.1));
    contest.note(
        "Ours are whole sessions, at whose end both sides hold the same and know it; the bodies \
         that differ have 8 bytes. Both state machines run in one process. Bytes are those of the \
         encoded messages until it is known what to fetch and what to push, those that ask for \
         bodies included, with the 5 that gRPC puts before each; processor time is \
         that of the calls of each state machine in the whole session, snapshots included, \
         encoding and the store's own work not. Each session has other differences; before it \
         128 MiB of other memory is written, so that nothing of the sets is in a cache. The peers \
         stop when they know what differs. negentropy: all ids at the same time, messages of any \
         length. merkle-search-tree: bounds and hashes of all pages one way, then ids both ways.",
    );
    Ok(contest)
}

/// The sets of round after round.
pub(crate) fn rounds_of(union: u64, by: u64) -> impl FnMut() -> Differing {
    let mut round = 0;
    move || {
        round += 1;
        Differing::new(union, by, round)
    }
}

pub(crate) fn nothing(setting: &Setting) -> Result<Contest, Failure> {
    contest(
        setting,
        &Asked {
            by: 0,
            bytes: ("under 300 B", 300.0),
            rounds: ("1 round", 1.0),
            ms: ("under 0.1 ms of CPU", 0.1),
        },
    )
}

pub(crate) fn two(setting: &Setting) -> Result<Contest, Failure> {
    contest(
        setting,
        &Asked {
            by: 2,
            bytes: ("under 1 KB", 1e3),
            rounds: ("1 round, and that for bodies", 1.0),
            ms: ("under 0.2 ms of CPU", 0.2),
        },
    )
}

pub(crate) fn hundred(setting: &Setting) -> Result<Contest, Failure> {
    contest(
        setting,
        &Asked {
            by: 100,
            bytes: ("under 4 KB", 4e3),
            rounds: ("1 round, and that for bodies", 1.0),
            ms: ("under 0.5 ms of CPU", 0.5),
        },
    )
}

pub(crate) fn ten_thousand(setting: &Setting) -> Result<Contest, Failure> {
    contest(
        setting,
        &Asked {
            by: 10_000,
            bytes: ("under 260 KB", 260e3),
            rounds: ("2 rounds, and that for bodies", 2.0),
            ms: ("under 10 ms of CPU", 10.0),
        },
    )
}

pub(crate) fn hundred_thousand(setting: &Setting) -> Result<Contest, Failure> {
    contest(
        setting,
        &Asked {
            by: 100_000,
            bytes: ("under 2.6 MB", 2.6e6),
            rounds: ("3 rounds, and those for bodies", 3.0),
            ms: ("under 130 ms of CPU", 130.0),
        },
    )
}
