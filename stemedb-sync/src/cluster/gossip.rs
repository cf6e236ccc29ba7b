//! Membership and failure detection: SWIM (Das, Gupta, Motivala, DSN 2002), by the library foca,
//! which takes messages, time and randomness from outside as everything here does.
//!
//! Around it: frames with a proof of the secret and the signature of their sender, joins by which a
//! node proves who and where it is, heads, and what is to happen when two processes have one node
//! id. The library only ever hears of members that the [roster](super::roster) has: of each as it
//! describes itself, and that it is gone only from itself, or after a suspicion that it did not
//! refute.

mod joins;
mod packets;
#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque},
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use foca::{
    AccumulatingRuntime, Foca, Member as Update, OwnedNotification, PeriodicParams, State, Timer,
};
use rand::{SeedableRng as _, rngs::SmallRng};

use super::{
    FrameError, Way,
    frame::{self, Frame, PACKET_LEN_MAX, Seal, Who},
    head::{self, Head, News, SharedHeads},
    key::NodeKey,
    member::Member,
    packet::{Codec, Packet},
    record::Record,
    roster::{KnownMember, Roster},
};
use crate::{keys::Keys, message::NodeId};

/// How often somebody is asked whether he is there.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// How long an answer may take before others are asked to ask him.
const PROBE_TIME_MAX: Duration = Duration::from_millis(500);
/// How often news is passed on while there is some.
const GOSSIP_PERIOD: Duration = Duration::from_millis(200);
/// To how many.
const GOSSIP_FANOUT: NonZeroUsize = NonZeroUsize::new(3).unwrap();
/// How often somebody is asked for all members.
const ANNOUNCE_PERIOD: Duration = Duration::from_secs(60);
/// How often those that are down are asked whether they are.
const ANNOUNCE_DOWN_PERIOD: Duration = Duration::from_secs(10);
/// How many of them.
const ANNOUNCE_DOWN_FANOUT: NonZeroUsize = NonZeroUsize::new(4).unwrap();
/// How long those that are down are remembered.
const DOWN_TIME_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a member may be suspected before it is called down. The library has a shorter time of
/// its own, but only where the suspicion arose, and not if that node was called down meanwhile.
const SUSPECT_TIME_MAX: Duration = Duration::from_secs(30);
/// How often that is looked at.
const SUSPECT_PERIOD: Duration = Duration::from_secs(1);
/// A member that others call down is down here too once it was suspected for so long: it had the
/// time to refute that. Until then it is suspected.
const CONFIRM_TIME: Duration = Duration::from_secs(2);
/// A record that changed goes along with all packets for so long.
const RECORD_TIME: Duration = Duration::from_secs(60);
/// A member whose head is missing is asked for it so often,
const ASK_PERIOD: Duration = Duration::from_secs(10);
/// and so many of them each second.
const ASKED_MAX: usize = 4;
/// How long it is left alone, after a join, who else has this node's id.
const DUPLICATE_PERIOD: Duration = Duration::from_secs(5);
/// At so many addresses at once, whatever anybody says.
const DUPLICATES_MAX: usize = 16;

/// Numbers of heads that there are for each size of the log.
const HEADS_PER_SIZE: u64 = 1 << 20;

/// Something that came of gossip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A frame is to be sent.
    Send { to: String, frame: Vec<u8>, way: Way },
    /// A member is there.
    Up(Member),
    /// A member is gone.
    Down(Member),
    /// A member is another run of it, or elsewhere.
    Moved,
    /// This node has another generation: what it has told before may count for less than it did.
    Renewed,
    /// A node has told what it holds.
    Told(NodeId),
    /// Another process has this node's id.
    DuplicateNodeId { address: String, refused: bool },
    /// The node at an address has answered.
    Answered(String),
    /// A node has an id that belongs to another key.
    DuplicateKey { node: NodeId, address: String },
}

/// This node's part in gossip.
pub(super) struct Gossip {
    seal: Seal,
    who: Who,
    /// When its record was signed last.
    signed: Duration,
    /// Whether it has said good-bye.
    left: bool,
    /// Counts the packets that were sent.
    counter: u64,
    roster: Roster,
    foca: Foca<Member, Codec, SmallRng, SharedHeads>,
    runtime: AccumulatingRuntime<Member>,
    timers: BinaryHeap<Reverse<Due>>,
    /// Counts timers, so that those of the same time come in order.
    numbered: u64,
    heads: SharedHeads,
    /// The number of the head that was told last.
    published: u64,
    /// Its last record.
    head: Vec<u8>,
    /// For how many members the library is set up.
    sized_for: u32,
    /// When it was last asked who else has this node's id, by address.
    duplicates: BTreeMap<String, Duration>,
    /// Members that are suspected: by generation and incarnation, and since when.
    suspected: BTreeMap<NodeId, ((u64, u16), Duration)>,
    /// When that was last looked at.
    looked: Duration,
    events: VecDeque<Event>,
}

/// Node as gossip sees it.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) keys: Keys,
    pub(super) key: NodeKey,
    pub(super) member: Member,
    pub(super) run: [u8; 16],
    pub(super) began: u64,
    pub(super) version: String,
    pub(super) remembered: Vec<KnownMember>,
}

/// A timer of the library.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    at: Duration,
    number: u64,
    timer: Timer<Member>,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Gossip {
    pub(super) fn new(own: Own, seed: u64, now: Duration) -> Self {
        let Own { keys, key, member, run, began, version, remembered } = own;
        let heads = SharedHeads::new(keys.clone(), member.node);
        let foca = Foca::with_custom_broadcast(
            member.clone(),
            settings(1),
            SmallRng::seed_from_u64(seed),
            Codec,
            heads.clone(),
        );
        // Neither the key nor the run is known to others: nobody foresees a challenge.
        let secret = key.derive("stemedb gossip 2 challenges");
        let secret = *blake3::keyed_hash(&secret, &run).as_bytes();
        let roster = Roster::new(member.node, secret, remembered, now);
        let record = Record::sign(&keys, &key, member, 0, false);
        Self {
            seal: Seal { keys, key },
            who: Who { record, run, began, version },
            signed: now,
            left: false,
            counter: 0,
            roster,
            foca,
            runtime: AccumulatingRuntime::new(),
            timers: BinaryHeap::new(),
            numbered: 0,
            heads,
            published: 0,
            head: Vec::new(),
            sized_for: 1,
            duplicates: BTreeMap::new(),
            suspected: BTreeMap::new(),
            looked: Duration::ZERO,
            events: VecDeque::new(),
        }
    }

    /// Asks who is at an address.
    pub(super) fn join(&mut self, address: &str, now: Duration) {
        let Some(challenge) = self.roster.challenge(address, now) else { return };
        let frame = self.seal.join(&self.who, &challenge);
        self.events.push_back(Event::Send { to: address.to_owned(), frame, way: Way::Ask });
    }

    /// Tells everybody what this node holds.
    pub(super) fn publish(&mut self, head: Head, now: Duration) {
        // An earlier run may have had the same generation, where the clock stands wrong. Its log
        // was no longer, and where it was as long it held the same.
        self.published = (self.published + 1).max(head.log_size.saturating_mul(HEADS_PER_SIZE));
        // Of an earlier run with a clock ahead it would be older than that run's.
        let run = self.foca.identity().generation;
        let news = News { node: self.node(), run, number: self.published, head };
        self.head = head::sign(&self.seal.keys, &self.seal.key, &news);
        // It is short enough.
        let _ = self.foca.add_broadcast(&self.head);
        self.settle(now);
    }

    /// Takes in a frame, and gives the address of its sender.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        now: Duration,
    ) -> Result<Option<String>, FrameError> {
        let from = match frame::open(&self.seal.keys, bytes)? {
            Frame::Join(who, challenge) => {
                self.answer(&who, challenge, now);
                Some(who.record.member.address)
            }
            Frame::JoinAck(ack) => {
                self.answered(&ack, now);
                Some(ack.who.record.member.address)
            }
            Frame::Claim(record) if self.take_own(&record, now) => None,
            Frame::Claim(_) => {
                return Err(FrameError::Signature);
            }
            Frame::Packet(frame) => self.take_packet(frame, now)?,
        };
        self.settle(now);
        Ok(from)
    }

    /// Does what is due by now.
    pub(super) fn tick(&mut self, now: Duration) {
        while self.timers.peek().is_some_and(|Reverse(due)| due.at <= now) {
            let Some(Reverse(due)) = self.timers.pop() else { break };
            // It fails if a probe was cut short, which it puts right by itself.
            let _ = self.foca.handle_timer(due.timer, &mut self.runtime);
            self.settle(now);
        }
        if now.saturating_sub(self.looked) >= SUSPECT_PERIOD {
            self.looked = now;
            self.end_suspicions(now);
            self.look_after_members(now);
        }
        for address in self.roster.due_candidates(self.foca.num_members() == 0, now) {
            self.join(&address, now);
        }
    }

    /// Notes who is there, forgets those that the library has forgotten, and asks for heads that
    /// are missing: what is told of them may have been lost, or come before its node was known.
    fn look_after_members(&mut self, now: Duration) {
        let mut gone: BTreeSet<NodeId> = self.roster.entries().map(|(node, _)| *node).collect();
        let mut missing = Vec::new();
        for update in self.foca.iter_membership_state() {
            let member = update.id();
            let entry = self.roster.get(&member.node);
            let Some(entry) = entry.filter(|entry| entry.record.member.key == member.key) else {
                continue;
            };
            let asked = entry.asked.is_some_and(|asked| now.saturating_sub(asked) < ASK_PERIOD);
            gone.remove(&member.node);
            self.roster.note_state(&member.node, &member.key, update.state(), now);
            if update.state() == State::Down {
                continue;
            }
            let told = self.heads.get().generation_of(&member.node);
            if told.is_none_or(|told| told < member.generation) && !asked {
                missing.push((member.node, member.address.clone()));
            }
        }
        for node in &gone {
            self.roster.forget(node);
        }
        self.roster.expire(now);
        for (node, address) in missing.into_iter().take(ASKED_MAX) {
            if let Some(entry) = self.roster.get_mut(&node) {
                entry.asked = Some(now);
            }
            self.join(&address, now);
        }
    }

    /// Calls members down that have been suspected for too long: a live one takes that back,
    /// and news that got lost is no longer missing.
    fn end_suspicions(&mut self, now: Duration) {
        let before = std::mem::take(&mut self.suspected);
        let mut down = Vec::new();
        for update in self.foca.iter_membership_state() {
            if update.state() != State::Suspect {
                continue;
            }
            let member = update.id();
            let this = (member.generation, update.incarnation());
            let known = before.get(&member.node).filter(|(known, _)| *known == this);
            let since = known.map_or(now, |(_, since)| *since);
            if now.saturating_sub(since) >= SUSPECT_TIME_MAX {
                down.push(Update::new(member.clone(), update.incarnation(), State::Down));
            }
            self.suspected.insert(member.node, (this, since));
        }
        if !down.is_empty() {
            // It fails only if one of them is this node, which is none of its members.
            let _ = self.foca.apply_many(down.into_iter(), true, &mut self.runtime);
            self.settle(now);
        }
    }

    /// When something is due.
    pub(super) fn due(&self) -> Option<Duration> {
        let timer = self.timers.peek().map(|Reverse(due)| due.at);
        [timer, self.roster.due()].into_iter().flatten().min()
    }

    /// Says good-bye.
    pub(super) fn leave(&mut self, now: Duration) {
        self.left = true;
        let _ = self.foca.leave_cluster(&mut self.runtime);
        self.settle(now);
    }

    pub(super) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All members but this node, those that are down too.
    pub(super) fn members(&self) -> impl Iterator<Item = (&Member, State)> {
        let members = self.foca.iter_membership_state();
        let members = members.map(|update| (update.id(), update.state()));
        // Where an id has another key by now, the earlier one does not count.
        members.filter(|(member, _)| {
            let entry = self.roster.get(&member.node);
            entry.is_some_and(|entry| entry.record.member.key == member.key)
        })
    }

    /// The members to be remembered across restarts.
    pub(super) fn known(&self) -> Vec<KnownMember> {
        self.roster.known().collect()
    }

    /// Counts the changes of those.
    pub(super) fn known_revision(&self) -> u64 {
        self.roster.revision()
    }

    pub(super) fn active(&self) -> usize {
        self.foca.num_members()
    }

    pub(super) fn head_of(&self, node: &NodeId) -> Option<Head> {
        self.heads.get().of(node).cloned()
    }

    fn own_key(&self) -> super::key::PublicKey {
        self.who.record.member.key
    }

    fn node(&self) -> NodeId {
        self.who.record.member.node
    }

    /// Takes over what the library wants.
    fn settle(&mut self, now: Duration) {
        while let Some((to, packet)) = self.runtime.to_send() {
            // The library writes what its codec reads.
            let Ok(packet) = Packet::<Member>::read(&packet) else { continue };
            if let Some(frame) = self.seal(packet, now) {
                // The library knows members only.
                self.events.push_back(Event::Send { to: to.address, frame, way: Way::Member });
            }
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.set_timer(now + after, timer);
        }
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                OwnedNotification::MemberUp(member) => self.events.push_back(Event::Up(member)),
                OwnedNotification::MemberDown(member) => self.events.push_back(Event::Down(member)),
                OwnedNotification::Rename(..) => self.events.push_back(Event::Moved),
                OwnedNotification::Rejoin(_) => {
                    self.sign(0, now);
                    self.events.push_back(Event::Renewed);
                }
                _ => {}
            }
        }
        let told = self.heads.get().take_changed();
        let own = self.node();
        self.events.extend(told.into_iter().filter(|node| *node != own).map(Event::Told));
        self.fit();
    }

    fn set_timer(&mut self, at: Duration, timer: Timer<Member>) {
        self.numbered += 1;
        self.timers.push(Reverse(Due { at, number: self.numbered, timer }));
    }

    /// Sets the library up for as many members as there are, about.
    fn fit(&mut self) {
        let count = u32::try_from(self.foca.num_members() + 1).unwrap_or(u32::MAX);
        let fits = self.sized_for.next_power_of_two() == count.next_power_of_two();
        if !fits && self.foca.set_config(settings(count)).is_ok() {
            self.sized_for = count;
        }
    }

    /// Notes that a session with a member ended well.
    pub(super) fn note_met(&mut self, node: &NodeId) {
        self.roster.note_met(node);
    }

    pub(super) fn knows(&self, node: &NodeId) -> bool {
        self.members().any(|(member, _)| member.node == *node)
    }

    /// Whether a member said good-bye.
    pub(super) fn has_left(&self, node: &NodeId) -> bool {
        self.roster.get(node).is_some_and(|entry| entry.record.left)
    }

    /// Forgets a member that is gone.
    pub(super) fn forget_member(&mut self, node: &NodeId) {
        // The library has it among its members for a while: without an entry it counts for none.
        self.roster.forget(node);
        self.heads.get().forget(node);
    }

    /// Forgets what nodes said that are no members any more.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.heads.get().forget(node);
    }
}

/// How the library is set up for so many members.
fn settings(count: u32) -> foca::Config {
    let count = NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
    foca::Config {
        probe_period: PROBE_PERIOD,
        probe_rtt: PROBE_TIME_MAX,
        max_packet_size: NonZeroUsize::new(PACKET_LEN_MAX).unwrap_or(NonZeroUsize::MIN),
        remove_down_after: Some(DOWN_TIME_MAX),
        notify_down_members: true,
        periodic_announce: Some(PeriodicParams {
            frequency: ANNOUNCE_PERIOD,
            num_members: NonZeroUsize::MIN,
        }),
        periodic_announce_to_down_members: Some(PeriodicParams {
            frequency: ANNOUNCE_DOWN_PERIOD,
            num_members: ANNOUNCE_DOWN_FANOUT,
        }),
        periodic_gossip: Some(PeriodicParams {
            frequency: GOSSIP_PERIOD,
            num_members: GOSSIP_FANOUT,
        }),
        // How often news is passed on and how long a suspicion lasts grow with the logarithm.
        ..foca::Config::new_lan(count)
    }
}

impl core::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Gossip").field("who", &self.who).finish_non_exhaustive()
    }
}
