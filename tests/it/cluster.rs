//! Whole clusters in one thread: the logic of nodes, their sessions and their stores over links,
//! disks and clocks that go wrong, all from one seed.
//!
//! Clusters with and without gossip, with and without a secret, live through half a minute to a
//! minute of troubles while clients write: partitions and one-way cuts, loss, delay, repeats, slow
//! links, kills and power cuts at rest and in the midst of an append, clocks off by hours, stepping
//! and drifting, members that come late, leave, or leave for ever, disks that are emptied, restored
//! from a copy, or full. Then all is put right, and:
//!
//! - nothing that a living disk acknowledged is lost, after each start and in the end;
//! - all that run hold the same within a [bound](self::network::Network::bound), with the root
//!   that this set has by definition;
//! - with gossip, all know each other, and a write is everywhere within seconds;
//! - nobody is blamed, times along each log increase, and every session ends;
//! - the same seed gives the same trace, and an idle node sends no more in a larger cluster.
//!
//! `CLUSTER_SEED=n` runs one seed, `CLUSTER_SEEDS=n` as many from `CLUSTER_FIRST=n` (or 0) on,
//! `CLUSTER_NODES=n` clusters of that size, `CLUSTER_TALK=1` tells of each.

pub(crate) mod checks;
pub(crate) mod frames;
pub(crate) mod life;
pub(crate) mod links;
pub(crate) mod malice;
pub(crate) mod network;
pub(crate) mod node;
pub(crate) mod sabotage;
pub(crate) mod sessions;
pub(crate) mod trouble;
pub(crate) mod world;

use crate::reference::random;
use std::time::Duration;

use self::{
    life::Life,
    malice::Malice,
    network::{Counts, SECOND},
    sabotage::Sabotage,
};
use random::number_from_env;

/// Tells which seed failed.
struct Named(u64, usize);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("CLUSTER_SEED={} CLUSTER_NODES={}", self.0, self.1);
        }
    }
}

fn run(seed: u64, nodes: usize, sabotage: Sabotage) -> Life {
    let named = Named(seed, nodes);
    let life = life::live(seed, nodes, sabotage);
    drop(named);
    life
}

fn seeds(seeds: impl Iterator<Item = u64>, nodes: usize) {
    let (mut longest, mut count) = (Duration::ZERO, 0);
    let (mut known, mut spread, mut near) = (Duration::ZERO, Duration::ZERO, 0.0_f64);
    for seed in seeds {
        let life = run(seed, nodes, Sabotage::None);
        if number_from_env("CLUSTER_TALK").is_some() {
            println!("{seed}: {life:?}");
        }
        longest = longest.max(life.converged);
        known = known.max(life.known);
        spread = spread.max(life.spread);
        near = near.max(life.converged.as_secs_f64() / life.bound.as_secs_f64());
        count += 1;
    }
    println!(
        "{count} clusters of {nodes}: all hold the same after {longest:?} at most, {:.0} % of the \
         bound, know each other after {known:?} more, and a write is then over in {spread:?}",
        near * 100.0
    );
}

#[test]
fn clusters_come_together_whatever_happens() {
    let nodes = usize::try_from(number_from_env("CLUSTER_NODES").unwrap_or(20)).unwrap();
    if let Some(seed) = number_from_env("CLUSTER_SEED") {
        return seeds(seed..=seed, nodes);
    }
    let first = number_from_env("CLUSTER_FIRST").unwrap_or(0);
    let end = first + number_from_env("CLUSTER_SEEDS").unwrap_or(24);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let mine = (first..end).filter(move |seed| seed % 2 == thread);
            scope.spawn(move || seeds(mine, nodes));
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..2 {
        let (one, other) = (run(seed, 12, Sabotage::None), run(seed, 12, Sabotage::None));
        assert_eq!(one.trace, other.trace, "seed {seed}");
    }
}

#[test]
fn an_idle_cluster_stays_quiet_as_it_grows() {
    let rates = [5, 20, 100].map(|count| life::idle(count, Sabotage::None));
    println!("bytes a second that the busiest of 5, 20, 100 idle nodes sends: {rates:?}");
    life::check_quiet(rates);
}

/// What a life with sabotage fails with.
fn failure(seed: u64, sabotage: Sabotage) -> String {
    failure_of(|| life::live(seed, 8, sabotage))
}

/// What a life fails with; empty if it does not.
fn failure_of(live: impl FnOnce() -> Life + std::panic::UnwindSafe) -> String {
    let failed = std::panic::catch_unwind(live).err();
    let text = failed.map(|payload| match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast_ref::<&str>().copied().unwrap_or_default().to_owned(),
    });
    text.unwrap_or_default()
}

/// A member with the cluster's secret ends no other, keeps none out, and puts none out of step for
/// longer than it goes on.
#[test]
fn a_hostile_member_harms_nobody_for_long() {
    let (seeds, nodes) = (number_from_env("CLUSTER_SEEDS").unwrap_or(2), 8);
    for malice in Malice::ALL {
        let mut sum = Counts::default();
        for seed in 0..seeds {
            let named = Named(seed, nodes);
            let with = life::Hostile { malice, is_control: false };
            let life = life::live_with(seed, nodes, Sabotage::None, Some(with));
            drop(named);
            sum.add_hostile(&life.counts);
        }
        let Counts { hostile, refused, ignored, answers, made_up, duplicates, forged, .. } = sum;
        println!(
            "{malice:?}: {hostile} hostile frames arrived, {refused} refused, {ignored} ignored; \
             {answers} frames to its machine, {made_up} to made-up addresses; {duplicates} second \
             keys noticed"
        );
        // It had its chance.
        assert!(hostile > 100 * seeds, "{malice:?}: {hostile}");
        assert!(sum.heard > 10 * seeds, "{malice:?}: nobody listened");
        match malice {
            Malice::Identity => assert!(duplicates > 0, "nobody noticed a second key"),
            Malice::Members => assert!(made_up > 0, "nobody looked after made-up members"),
            Malice::Generation | Malice::Down => assert!(refused > 0, "{malice:?}"),
            // Members listen to it, and not to what it says of others.
            Malice::Heads => assert!(forged == 0, "{forged} forged heads are taken"),
            // Nothing is wrong with its frames; it gets no more of them than it sends.
            Malice::Flood => assert!(answers < hostile, "{answers} answers to {hostile}"),
            Malice::Replay => {
                assert!(sum.repeated == 0, "{} packets were taken twice", sum.repeated);
                assert!(ignored > hostile / 5, "{ignored} of {hostile} ignored");
            }
            // Its other selves are members at no time: one address is one member.
            Malice::Crowd => {}
        }
    }
}

/// Negative controls of that: where a member can do what it can't, it does harm, and the checks
/// notice.
///
/// - Identity, Generation: it has the keys of the others.
/// - Heads: with these keys it signs ever higher heads of all. One forged head is no control: the
///   next session says what its peer holds, and nothing is newer than the highest number.
/// - Down: with these keys it signs a good-bye of all others, again and again, each later than the
///   generation by which a node takes back the one before.
/// - Members: it answers at the addresses that it made up, so that its members prove themselves.
/// - Replay: with these keys it gives what it repeats numbers that are new, so that repeats count
///   and what the nodes say themselves does not.
/// - Crowd has none: its other selves share an address, at which a node takes one member. A test of
///   the roster (`at_one_address_is_one_member`) fails where it takes more.
/// - Flood: all its frames are good ones, and there is nothing here that refuses them and could be
///   broken. So all links to a machine share a line that is wide enough without the flood.
#[test]
fn a_hostile_member_that_can_do_more_is_noticed() {
    let (seeds, nodes) = (number_from_env("CLUSTER_SEEDS").unwrap_or(2), 5);
    let controls: [(_, _, &[&str]); 7] = [
        (Malice::Identity, Sabotage::None, &["has a duplicate"]),
        (Malice::Generation, Sabotage::None, &["for Some((Down"]),
        (Malice::Heads, Sabotage::None, &["for Some((Alive, Some(SetHead { count: 999999"]),
        (Malice::Members, Sabotage::None, &["made-up"]),
        (Malice::Flood, Sabotage::Narrow, &["not all hold the same"]),
        (Malice::Replay, Sabotage::None, &["for Some((Down", "for Some((Suspect"]),
        // A node that is taken for down is not met either, which another check notices first.
        (
            Malice::Down,
            Sabotage::None,
            &["for Some((Down", "for Some((Left", "not all hold the same"],
        ),
    ];
    for (malice, sabotage, expected) in controls {
        let with = life::Hostile { malice, is_control: true };
        let live = |seed| failure_of(move || life::live_with(seed, nodes, sabotage, Some(with)));
        let failures: Vec<_> = (0..seeds).map(live).collect();
        let names = |failure: &String| expected.iter().any(|text| failure.contains(text));
        let caught = failures.iter().filter(|failure| names(failure)).count();
        println!("{malice:?}: {caught} of {seeds}");
        assert!(caught * 2 > failures.len(), "{malice:?}: {failures:#?}");
    }
    // The line alone is none of it.
    for seed in 0..seeds {
        run(seed, nodes, Sabotage::Narrow);
    }
}

/// Negative controls: what is wrong on purpose fails the check that is there for it.
#[test]
fn the_checks_notice_what_is_wrong() {
    let controls = [
        (Sabotage::Unsynced, "has lost"),
        (Sabotage::Shunned, "not all hold the same"),
        (Sabotage::Altered, "nobody wrote"),
        (Sabotage::Lies, "is blamed"),
        (Sabotage::Forgotten, "sessions do not end"),
    ];
    for (sabotage, expected) in controls {
        let failures: Vec<_> = (0..8).map(|seed| failure(seed, sabotage)).collect();
        let caught = failures.iter().filter(|failure| failure.contains(expected)).count();
        println!("{sabotage:?}: {caught} of {}", failures.len());
        assert!(caught >= 2, "{sabotage:?}: {failures:#?}");
    }
    let [one, other] = [0; 2].map(|seed| life::live(seed, 5, Sabotage::Unseeded));
    assert_ne!(one.trace, other.trace);
    let rates = [5, 20, 60].map(|count| life::idle(count, Sabotage::Talkative));
    assert!(std::panic::catch_unwind(|| life::check_quiet(rates)).is_err(), "{rates:?}");
    let times = || checks::check_times("a node", [1, 2, 2].into_iter());
    assert!(std::panic::catch_unwind(times).is_err());
}
