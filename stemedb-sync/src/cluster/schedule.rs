//! Whom to sync with, and when.
//!
//! - A peer that says that it holds something else is met soon: after a short time by chance, so
//!   that not everybody comes at once, if it was the peer that changed; after some seconds if it
//!   was this node, as the peer then comes by itself.
//! - Whatever anybody says, some peers are met in each interval: with gossip lost this alone makes
//!   all hold the same.
//! - Among those that are to be met, the one last repaired longest ago comes first, but for one
//!   time in four, when chance decides.
//! - A peer with which a session failed is left alone for a time that doubles; one that broke the
//!   protocol, for an hour.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};

use super::head::Head;
use crate::{
    message::{NodeId, SetHead},
    violation::ProtocolViolation,
};

/// After this time at most a peer that changed is met, in a cluster of one or two.
const SOON: Duration = Duration::from_millis(150);
/// So much longer for each member.
const SOON_EACH: Duration = Duration::from_millis(10);
/// So much later if it was this node that changed.
const AFTER_OWN: Duration = Duration::from_secs(2);
/// So many peers are met in each interval, whatever they say.
const MEETINGS: u32 = 4;
/// A peer that changes all the time is not met more often than this.
const REST: Duration = Duration::from_millis(200);
/// The first pause after a session that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(120);
/// How long a peer that broke the protocol is quarantined.
const QUARANTINE_TIME: Duration = Duration::from_secs(60 * 60);

/// Standing of a peer in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A member that answers.
    Alive,
    /// A member that some get no answer from.
    Suspect,
    /// A member that is gone.
    Down,
    /// A member that said good-bye.
    Left,
    /// Not a member, but named: it is synced with all the same.
    Named,
}

impl Standing {
    /// Whether nobody is there, as far as is known.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Down | Self::Left)
    }
}

/// Sizes of two logs at a moment when both nodes held the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EqualAt {
    /// Size of this node's log.
    pub own: u64,
    /// Size of the peer's log, if known.
    pub peer: Option<u64>,
}

/// How a session with a peer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both hold this set now.
    Repaired(SetHead),
    /// Some of what differed was moved, or the peer moved on meanwhile: worth another soon.
    Partial,
    /// It failed, or the peer was busy.
    Failed,
    /// It was called off by this node.
    Cancelled,
    /// The peer broke the protocol.
    ProtocolViolation(ProtocolViolation),
}

/// Peer as the schedule knows it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is the answer to a question of its own")]
pub struct Peer {
    /// Its node id, once known.
    pub node: Option<NodeId>,
    /// Its standing.
    pub standing: Standing,
    /// Its last head.
    pub head: Option<Head>,
    /// The set that both held at the end of the last session.
    pub agreed: Option<SetHead>,
    /// Sizes of both logs when both last held the same.
    pub equal_at: Option<EqualAt>,
    /// Since when it is known to hold something else.
    pub differs_since: Option<Duration>,
    /// When a session with it last ended with both holding the same.
    pub repaired: Option<Duration>,
    /// When it was last met, whatever came of it.
    pub met: Option<Duration>,
    /// Sessions in a row that failed.
    pub failures: u32,
    /// It is not met before this.
    pub not_before: Duration,
    /// Reason of its quarantine, until then.
    pub quarantined: Option<ProtocolViolation>,
    /// When it is to be met.
    wanted: Option<Duration>,
    /// Whether a session with it runs.
    pub running: bool,
    /// Whether it has announced something new since the session began.
    has_news: bool,
    /// Whether its head comes from gossip, not from a session.
    is_head_current: bool,
    /// Whether it is there by name, too.
    named: bool,
}

impl Peer {
    fn new(standing: Standing, named: bool) -> Self {
        Self {
            node: None,
            standing,
            head: None,
            agreed: None,
            equal_at: None,
            differs_since: None,
            repaired: None,
            met: None,
            failures: 0,
            not_before: Duration::ZERO,
            quarantined: None,
            wanted: None,
            running: false,
            has_news: false,
            is_head_current: false,
            named,
        }
    }

    /// Its set, as far as is known.
    pub fn set(&self) -> Option<SetHead> {
        self.head.as_ref().map(|head| head.set).or(self.agreed)
    }

    /// Whether it may be met now.
    fn is_open(&self, now: Duration) -> bool {
        !self.running && !self.standing.is_gone() && self.not_before <= now
    }
}

/// Policy of the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// In each such time some peers are met, whatever they say; up to a quarter more or less.
    pub interval: Duration,
    /// Sessions that this node runs at the same time.
    pub sessions_max: usize,
}

/// Sets of this node that are remembered, to know how far behind a peer is that holds one of them.
const OWN_SETS_MAX: usize = 1024;

/// Whom to sync with, and when.
#[derive(Debug)]
pub(super) struct Schedule {
    policy: Policy,
    peers: BTreeMap<String, Peer>,
    set: SetHead,
    /// Sets that this node held of late, the last one too, and the size of its log then.
    own_sets: VecDeque<(SetHead, u64)>,
    random: SmallRng,
    /// When the next meeting is that nobody asked for.
    meeting: Duration,
    paused: bool,
}

impl Schedule {
    pub(super) fn new(policy: Policy, head: &Head, seed: u64, now: Duration) -> Self {
        let set = head.set;
        let own_sets = VecDeque::from([(set, head.log_size)]);
        let random = SmallRng::seed_from_u64(seed ^ 0x5c4e_d01e);
        let peers = BTreeMap::new();
        let mut schedule =
            Self { policy, peers, set, own_sets, random, meeting: Duration::ZERO, paused: false };
        schedule.meeting = now + schedule.policy.interval.min(schedule.until_meeting());
        schedule
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = (&str, &Peer)> {
        self.peers.iter().map(|(address, peer)| (address.as_str(), peer))
    }

    pub(super) fn peer(&self, address: &str) -> Option<&Peer> {
        self.peers.get(address)
    }

    pub(super) fn set_policy(&mut self, policy: Policy, now: Duration) {
        self.policy = policy;
        self.meeting = self.meeting.min(now + self.until_meeting());
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Those that are synced with although they are no members.
    pub(super) fn name(&mut self, addresses: &[String], now: Duration) {
        for (address, peer) in &mut self.peers {
            peer.named = addresses.contains(address);
        }
        self.peers.retain(|_, peer| peer.named || peer.standing != Standing::Named);
        for address in addresses {
            let new = || Peer { wanted: Some(now), ..Peer::new(Standing::Named, true) };
            self.peers.entry(address.clone()).or_insert_with(new);
        }
    }

    /// A member has come, or is suspected, or gone.
    pub(super) fn stand(&mut self, address: &str, node: NodeId, standing: Standing, now: Duration) {
        let soon = self.soon();
        let peer = self.peers.entry(address.to_owned());
        let peer = peer.or_insert_with(|| Peer::new(standing, false));
        if peer.node != Some(node) {
            // One that is quarantined stays so under another id.
            let quarantined = peer.quarantined;
            let not_before = quarantined.map_or(Duration::ZERO, |_| peer.not_before);
            let (named, running) = (peer.named, peer.running);
            let new = Peer::new(standing, named);
            *peer = Peer { node: Some(node), running, quarantined, not_before, ..new };
        }
        let back = peer.standing.is_gone() && !standing.is_gone();
        peer.standing = standing;
        if back && peer.differs_since.is_some() {
            // Why it failed before is over.
            (peer.failures, peer.not_before) = (0, Duration::ZERO);
            peer.wanted.get_or_insert(now + soon);
        }
        if standing.is_gone() && peer.named {
            // It may be there for sessions all the same.
            peer.standing = Standing::Named;
        }
    }

    /// Forgets the peer at an address, unless it is named or meets this node just now.
    pub(super) fn remove(&mut self, address: &str) -> bool {
        let free = self.peers.get(address).is_some_and(|peer| !peer.named && !peer.running);
        free && self.peers.remove(address).is_some()
    }

    /// Members that the cluster has forgotten.
    pub(super) fn forget(&mut self, is_known: impl Fn(&NodeId, &String) -> bool) -> Vec<NodeId> {
        let mut forgotten = Vec::new();
        self.peers.retain(|address, peer| {
            let known = peer.node.as_ref().is_none_or(|node| is_known(node, address));
            let keep = peer.named || peer.running || known;
            if !keep {
                forgotten.extend(peer.node);
            }
            keep
        });
        forgotten
    }

    /// A peer has announced what it holds.
    pub(super) fn note_head(&mut self, address: &str, head: Head, now: Duration) {
        let soon = self.soon();
        let own = self.set;
        let Some(peer) = self.peers.get_mut(address) else { return };
        let moved = peer.head.as_ref().is_none_or(|old| old.set != head.set);
        let log = (head.store, head.epoch);
        if peer.head.as_ref().is_some_and(|old| (old.store, old.epoch) != log) {
            // Its log is another one: it may lack what both held, and its indexes are new.
            peer.equal_at = None;
        }
        if let Some(size) = size_of(&self.own_sets, head.set) {
            peer.equal_at = Some(EqualAt { own: size, peer: Some(head.log_size) });
        }
        peer.head = Some(head);
        peer.has_news |= moved;
        peer.is_head_current = true;
        compare(peer, own, now);
        if peer.differs_since.is_some() && moved {
            let at = now + soon;
            peer.wanted = Some(peer.wanted.map_or(at, |wanted| wanted.min(at)));
        }
    }

    /// This node's set has changed.
    pub(super) fn changed(&mut self, head: &Head, now: Duration) {
        let set = head.set;
        self.set = set;
        self.own_sets.push_back((set, head.log_size));
        if self.own_sets.len() > OWN_SETS_MAX {
            self.own_sets.pop_front();
        }
        let soon = self.soon();
        for peer in self.peers.values_mut() {
            if peer.set() == Some(set) {
                let known = peer.head.as_ref().filter(|_| peer.is_head_current);
                let size = known.map(|head| head.log_size);
                peer.equal_at = Some(EqualAt { own: head.log_size, peer: size });
            }
            compare(peer, set, now);
            if peer.differs_since.is_some() && !peer.standing.is_gone() {
                peer.wanted.get_or_insert(now + AFTER_OWN + soon);
            }
        }
    }

    /// A session has ended.
    pub(super) fn ended(&mut self, address: &str, outcome: Outcome, now: Duration) {
        let soon = self.soon();
        let jitter = self.random.random_range(0.75..1.25);
        let own = self.set;
        let Some(peer) = self.peers.get_mut(address) else { return };
        peer.running = false;
        peer.met = Some(now);
        peer.not_before = now + REST;
        match outcome {
            Outcome::Repaired(set) => {
                peer.repaired = Some(now);
                peer.agreed = Some(set);
                if let Some(size) = size_of(&self.own_sets, set) {
                    let known = peer.head.as_ref().filter(|head| head.set == set);
                    let known = known.map(|head| head.log_size);
                    peer.equal_at = Some(EqualAt { own: size, peer: known });
                }
                // What it said meanwhile may be of before the session or of after it, and counts.
                if let Some(head) = peer.head.as_mut().filter(|_| !peer.has_news) {
                    // Until it says otherwise.
                    peer.is_head_current &= head.set == set;
                    head.set = set;
                }
                (peer.failures, peer.quarantined) = (0, None);
                compare(peer, own, now);
                if peer.differs_since.is_some() {
                    let after = if peer.has_news { Duration::ZERO } else { AFTER_OWN };
                    peer.wanted.get_or_insert(now + after + soon);
                }
            }
            Outcome::Partial => {
                (peer.failures, peer.quarantined) = (0, None);
                peer.wanted.get_or_insert(now + soon);
            }
            Outcome::Failed => {
                let doubled = PAUSE.saturating_mul(1 << peer.failures.min(16)).min(PAUSE_MAX);
                peer.failures = peer.failures.saturating_add(1);
                peer.not_before = now + doubled.mul_f64(jitter);
                peer.wanted = Some(peer.not_before);
            }
            Outcome::Cancelled => peer.wanted = Some(now + soon),
            Outcome::ProtocolViolation(violation) => {
                peer.failures = peer.failures.saturating_add(1);
                peer.quarantined = Some(violation);
                peer.not_before = now + QUARANTINE_TIME;
                peer.wanted = Some(peer.not_before);
            }
        }
    }

    /// Somebody wants a peer to be met now, or all of them. Whether there is any.
    pub(super) fn trigger(&mut self, address: Option<&str>, now: Duration) -> bool {
        let mut any = false;
        for (known, peer) in &mut self.peers {
            if address.is_none_or(|address| address == known) {
                (peer.wanted, peer.not_before, peer.quarantined) =
                    (Some(now), Duration::ZERO, None);
                any = true;
            }
        }
        any
    }

    /// Whom to begin a session with now.
    pub(super) fn next(&mut self, now: Duration) -> Option<String> {
        if self.paused || self.running() >= self.policy.sessions_max {
            return None;
        }
        if self.meeting <= now {
            self.meeting = now + self.until_meeting();
            self.meet_somebody(now);
        }
        let open = self.open(now).filter(|(_, peer)| peer.wanted.is_some_and(|at| at <= now));
        let candidates = open.map(|(address, peer)| (peer.repaired, address.clone())).collect();
        let chosen = choose(&mut self.random, candidates)?;
        let peer = self.peers.get_mut(&chosen)?;
        (peer.running, peer.has_news, peer.wanted) = (true, false, None);
        Some(chosen)
    }

    /// When there may be somebody to begin a session with.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.paused || self.running() >= self.policy.sessions_max {
            return None;
        }
        let open = self.open(Duration::MAX);
        let wanted = open.filter_map(|(_, peer)| peer.wanted.map(|at| at.max(peer.not_before)));
        Some(wanted.min().map_or(self.meeting, |wanted| wanted.min(self.meeting)))
    }

    /// How long a peer that changed may be left waiting.
    fn soon(&mut self) -> Duration {
        let others = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        let most = SOON + SOON_EACH.saturating_mul(others);
        most.mul_f64(self.random.random_range(0.0..1.0))
    }

    fn until_meeting(&mut self) -> Duration {
        let others = u32::try_from(self.peers.len()).unwrap_or(u32::MAX);
        let each = self.policy.interval / others.clamp(1, MEETINGS);
        each.mul_f64(self.random.random_range(0.75..1.25))
    }

    /// Notes somebody to be met that nothing is known of that would make it worth while.
    fn meet_somebody(&mut self, now: Duration) {
        let open = self.peers.iter().filter(|(_, peer)| peer.is_open(now));
        let candidates = open.map(|(address, peer)| (peer.met, address.clone())).collect();
        if let Some(chosen) = choose(&mut self.random, candidates)
            && let Some(peer) = self.peers.get_mut(&chosen)
        {
            peer.wanted = Some(now);
        }
    }

    /// Those that a session may begin with at some time.
    fn open(&self, now: Duration) -> impl Iterator<Item = (&String, &Peer)> {
        let running = self.peers.values().filter(|peer| peer.running).filter_map(Peer::set);
        // Peers that hold the same have the same to give: once is enough.
        let met: Vec<_> = running.filter(|met| *met != self.set).collect();
        let fits = move |peer: &Peer| {
            peer.is_open(now) && peer.set().is_none_or(|set| !met.contains(&set))
        };
        self.peers.iter().filter(move |(_, peer)| fits(peer))
    }

    fn running(&self) -> usize {
        self.peers.values().filter(|peer| peer.running).count()
    }
}

/// The peer that waits longest, or, one time in four, anybody.
fn choose(
    random: &mut SmallRng,
    mut candidates: Vec<(Option<Duration>, String)>,
) -> Option<String> {
    if candidates.is_empty() {
        return None;
    }
    let by_chance = random.random_range(0..candidates.len());
    if random.random_range(0..4) == 0 {
        return Some(candidates.swap_remove(by_chance).1);
    }
    // Of several that wait alike, not the first of the alphabet.
    candidates.rotate_left(by_chance);
    candidates.into_iter().min_by_key(|(since, _)| *since).map(|(_, address)| address)
}

/// Size of this node's log when it held a set, if it is remembered.
fn size_of(own_sets: &VecDeque<(SetHead, u64)>, set: SetHead) -> Option<u64> {
    own_sets.iter().rev().find(|(known, _)| *known == set).map(|(_, size)| *size)
}

/// Notes since when a peer holds something else.
fn compare(peer: &mut Peer, own: SetHead, now: Duration) {
    let set = peer.set();
    let differs = set.is_some_and(|set| set != own);
    peer.differs_since = differs.then(|| peer.differs_since.unwrap_or(now));
    if set == Some(own) {
        peer.wanted = None;
    }
}

#[cfg(test)]
mod tests {
    use stemedb_merkle::Root;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn head(count: u64) -> Head {
        let set = SetHead { count, root: Root([1; 32]) };
        let version = String::new();
        Head { set, log_size: count, last_time: 0, epoch: 1, store: [0; 16], version }
    }

    #[test]
    fn what_a_peer_says_during_a_session_is_not_forgotten() {
        let policy = Policy { interval: 1_000 * SECOND, sessions_max: 2 };
        let mut schedule = Schedule::new(policy, &head(1), 7, SECOND);
        schedule.stand("peer:1", [9; 16], Standing::Alive, SECOND);
        schedule.note_head("peer:1", head(2), SECOND);
        let mut now = 2 * SECOND;
        assert_eq!(schedule.next(now).as_deref(), Some("peer:1"));
        // The session ends with what both held when it began; the peer has moved on since.
        schedule.note_head("peer:1", head(3), now);
        schedule.changed(&head(2), now);
        schedule.ended("peer:1", Outcome::Repaired(head(2).set), now);
        now += SECOND;
        assert_eq!(schedule.next(now).as_deref(), Some("peer:1"), "it is met again at once");
        schedule.changed(&head(3), now);
        schedule.ended("peer:1", Outcome::Repaired(head(3).set), now);
        assert_eq!(schedule.next(now + 10 * SECOND), None, "nothing is left to do");
    }

    #[test]
    fn how_far_two_logs_went_since_both_held_the_same_is_known() {
        let policy = Policy { interval: 1_000 * SECOND, sessions_max: 2 };
        let mut schedule = Schedule::new(policy, &head(10), 7, SECOND);
        schedule.stand("peer:1", [9; 16], Standing::Alive, SECOND);
        let equal_at = |schedule: &Schedule| schedule.peer("peer:1").unwrap().equal_at;
        let at = |own, peer| Some(EqualAt { own, peer });
        schedule.note_head("peer:1", Head { log_size: 70, ..head(5) }, SECOND);
        assert_eq!(equal_at(&schedule), None, "nothing is known before they were equal");
        schedule.note_head("peer:1", Head { log_size: 75, ..head(10) }, SECOND);
        assert_eq!(equal_at(&schedule), at(10, Some(75)));
        // Both go on; what the peer holds then is what this node held before.
        schedule.changed(&head(11), SECOND);
        schedule.changed(&head(13), SECOND);
        assert_eq!(equal_at(&schedule), at(10, Some(75)));
        schedule.note_head("peer:1", Head { log_size: 76, ..head(11) }, SECOND);
        assert_eq!(equal_at(&schedule), at(11, Some(76)));
        // A session makes both equal; the peer has not announced how long its log is then.
        schedule.ended("peer:1", Outcome::Repaired(head(13).set), SECOND);
        assert_eq!(equal_at(&schedule), at(13, None));
        schedule.note_head("peer:1", Head { log_size: 78, ..head(13) }, SECOND);
        assert_eq!(equal_at(&schedule), at(13, Some(78)));
    }

    #[test]
    fn what_was_equal_before_a_peer_had_another_log_says_nothing() {
        let policy = Policy { interval: 1_000 * SECOND, sessions_max: 2 };
        let mut schedule = Schedule::new(policy, &head(10), 7, SECOND);
        schedule.stand("peer:1", [9; 16], Standing::Alive, SECOND);
        let equal_at = |schedule: &Schedule| schedule.peer("peer:1").unwrap().equal_at;
        schedule.note_head("peer:1", Head { log_size: 70, ..head(10) }, SECOND);
        assert_eq!(equal_at(&schedule), Some(EqualAt { own: 10, peer: Some(70) }));
        // It was restored from a backup, and lacks half of what both held.
        schedule.note_head("peer:1", Head { log_size: 5, epoch: 2, ..head(5) }, SECOND);
        assert_eq!(equal_at(&schedule), None);
        schedule.note_head("peer:1", Head { log_size: 75, epoch: 2, ..head(10) }, SECOND);
        assert_eq!(equal_at(&schedule), Some(EqualAt { own: 10, peer: Some(75) }));
    }

    #[test]
    fn who_said_good_bye_is_not_met_until_it_is_back() {
        let policy = Policy { interval: 1_000 * SECOND, sessions_max: 2 };
        let mut schedule = Schedule::new(policy, &head(1), 7, SECOND);
        schedule.stand("peer:1", [9; 16], Standing::Alive, SECOND);
        schedule.note_head("peer:1", head(2), SECOND);
        schedule.stand("peer:1", [9; 16], Standing::Left, SECOND);
        assert_eq!(schedule.next(100 * SECOND), None);
        schedule.stand("peer:1", [9; 16], Standing::Alive, 100 * SECOND);
        assert_eq!(schedule.next(101 * SECOND).as_deref(), Some("peer:1"));
        assert!(!schedule.remove("peer:1"), "a session with it runs");
        schedule.ended("peer:1", Outcome::Failed, 102 * SECOND);
        assert!(schedule.remove("peer:1") && schedule.peer("peer:1").is_none());
    }
}
