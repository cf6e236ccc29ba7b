//! Membership and failure detection: SWIM (Das, Gupta, Motivala, DSN 2002), by the library foca,
//! which takes messages, time and randomness from outside as everything here does.
//!
//! Around it: frames with a proof of the secret, knocking at addresses of which nothing is known
//! but the address, heads, and what is to happen when two processes have one node id.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, VecDeque},
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use foca::{
    AccumulatingRuntime, Foca, Member as Update, OwnedNotification, PeriodicParams, State, Timer,
};
use rand::{SeedableRng as _, rngs::SmallRng};

use super::{
    FrameError, MEMBERS_MAX,
    frame::{self, Frame, PACKET_LEN_MAX, Who},
    head::{Head, News, SharedHeads},
    member::Member,
    wire::Codec,
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
/// How long it is left alone, after a knock, who else has this node's id.
const TWIN_PERIOD: Duration = Duration::from_secs(5);
/// At so many addresses at once, whatever anybody says.
const TWINS_MAX: usize = 16;

/// Something that came of gossip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A frame is to be sent.
    Send { to: String, frame: Vec<u8> },
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
    Twin { address: String, refused: bool },
}

/// This node's part in gossip.
pub(super) struct Gossip {
    keys: Keys,
    who: Who,
    foca: Foca<Member, Codec, SmallRng, SharedHeads>,
    runtime: AccumulatingRuntime<Member>,
    timers: BinaryHeap<Reverse<Due>>,
    /// Counts timers, so that those of the same time come in order.
    numbered: u64,
    heads: SharedHeads,
    published: u64,
    /// For how many members the library is set up.
    sized_for: u32,
    /// When it was last asked who else has this node's id, by address.
    twins: HashMap<String, Duration>,
    /// Members that are suspected: by generation and incarnation, and since when.
    suspected: HashMap<NodeId, ((u64, u16), Duration)>,
    /// When that was last looked at.
    looked: Duration,
    events: VecDeque<Event>,
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
    pub(super) fn new(keys: Keys, who: Who, seed: u64) -> Self {
        let heads = SharedHeads::default();
        let foca = Foca::with_custom_broadcast(
            who.member.clone(),
            settings(1),
            SmallRng::seed_from_u64(seed),
            Codec,
            heads.clone(),
        );
        Self {
            keys,
            who,
            foca,
            runtime: AccumulatingRuntime::new(),
            timers: BinaryHeap::new(),
            numbered: 0,
            heads,
            published: 0,
            sized_for: 1,
            twins: HashMap::new(),
            suspected: HashMap::new(),
            looked: Duration::ZERO,
            events: VecDeque::new(),
        }
    }

    /// Asks who is at an address.
    pub(super) fn knock(&mut self, address: &str) {
        let frame = frame::knock(&self.keys, &self.who);
        self.events.push_back(Event::Send { to: address.to_owned(), frame });
    }

    /// Tells everybody what this node holds.
    pub(super) fn publish(&mut self, head: Head, now: Duration) {
        self.published += 1;
        // Of an earlier run with a clock ahead it would be older than that run's.
        let run = self.foca.identity().generation;
        let news = News { node: self.who.member.node, run, number: self.published, head };
        // It is short enough.
        let _ = self.foca.add_broadcast(&news.encode());
        self.settle(now);
    }

    /// Takes in a frame, and gives the address of its sender.
    pub(super) fn receive(
        &mut self,
        bytes: &[u8],
        now: Duration,
    ) -> Result<Option<String>, FrameError> {
        let from = match frame::open(&self.keys, bytes)? {
            Frame::Knock(who) => {
                let answer = frame::here(&self.keys, &self.who, &who.run);
                self.events
                    .push_back(Event::Send { to: who.member.address.clone(), frame: answer });
                if who.member.node == self.node() {
                    // It may be a knock of an earlier run that somebody kept. An answer counts.
                    self.ask_twin(&who.member, now);
                } else {
                    self.met(&who, now);
                }
                Some(who.member.address)
            }
            Frame::Here(who, asked) => {
                // An answer to an earlier run says nothing about this one.
                if asked == self.who.run {
                    self.met(&who, now);
                }
                Some(who.member.address)
            }
            Frame::Twin(member) => {
                self.look_for_twins(&[(member, State::Alive)], now);
                None
            }
            Frame::Packet(packet, named) => {
                self.check_room(&named)?;
                self.look_for_twins(&named, now);
                self.tell_of_twin(&named);
                let from_here = named.first().is_some_and(|(from, _)| from.node == self.node());
                if !from_here {
                    // Whatever it objects to is bad luck on the way: a frame that comes late, say.
                    let _ = self.foca.handle_data(packet, &mut self.runtime);
                }
                named.into_iter().next().map(|(from, _)| from.address)
            }
        };
        self.settle(now);
        Ok(from)
    }

    /// What is due by now.
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
        }
    }

    /// Calls members down that have been suspected for too long: whoever is there takes that back,
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
        self.timers.peek().map(|Reverse(due)| due.at)
    }

    /// Says good-bye.
    pub(super) fn leave(&mut self, now: Duration) {
        let _ = self.foca.leave_cluster(&mut self.runtime);
        self.settle(now);
    }

    pub(super) fn event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// All members but this node, those that are down too.
    pub(super) fn members(&self) -> impl Iterator<Item = (&Member, State)> {
        self.foca.iter_membership_state().map(|update| (update.id(), update.state()))
    }

    pub(super) fn active(&self) -> usize {
        self.foca.num_members()
    }

    pub(super) fn head_of(&self, node: &NodeId) -> Option<Head> {
        self.heads.get().of(node).cloned()
    }

    fn node(&self) -> NodeId {
        self.who.member.node
    }

    /// Somebody has said who he is.
    fn met(&mut self, who: &Who, now: Duration) {
        if who.member.node == self.node() {
            if who.run != self.who.run {
                // Both sides come to the same answer, whoever asked.
                let refused = (who.began, who.run) < (self.who.began, self.who.run);
                self.events.push_back(Event::Twin { address: who.member.address.clone(), refused });
            }
        } else if self.foca.iter_membership_state().len() < MEMBERS_MAX
            && !self.is_there(&who.member)
        {
            let _ = self.foca.announce(who.member.clone(), &mut self.runtime);
            self.settle(now);
        }
    }

    /// Whether a member is known as it says it is.
    fn is_there(&self, who: &Member) -> bool {
        self.members().any(|(member, state)| {
            member.node == who.node
                && member.generation >= who.generation
                && member.address == who.address
                && state == State::Alive
        })
    }

    /// Asks who is at the address of a member with this node's id, unless that was done just now.
    fn ask_twin(&mut self, member: &Member, now: Duration) {
        self.twins.retain(|_, asked| now.saturating_sub(*asked) < TWIN_PERIOD);
        let asked = self.twins.contains_key(&member.address);
        if member.address != self.who.member.address && !asked && self.twins.len() < TWINS_MAX {
            self.twins.insert(member.address.clone(), now);
            self.knock(&member.address);
        }
    }

    /// Somebody talks of this node's id, and not of this process.
    fn look_for_twins(&mut self, named: &[(Member, State)], now: Duration) {
        let mut highest = self.foca.identity().generation;
        let node = self.node();
        for (member, state) in named.iter().filter(|(member, _)| member.node == node) {
            highest = highest.max(member.generation);
            if *state != State::Down {
                self.ask_twin(member, now);
            }
        }
        let own = self.foca.identity();
        if highest > own.generation {
            // An earlier run with a clock ahead of ours: what it left behind must not win.
            let renewed = Member { generation: highest.saturating_add(1), ..own.clone() };
            let _ = self.foca.change_identity(renewed, &mut self.runtime);
            self.events.push_back(Event::Renewed);
        }
    }

    /// Tells a sender whose id belongs to a later member elsewhere: it may be gone, or a copy of
    /// this one, which they find out between themselves.
    fn tell_of_twin(&mut self, named: &[(Member, State)]) {
        let Some((from, _)) = named.first() else { return };
        let twin = self.members().find(|(member, state)| {
            member.node == from.node
                && member.address != from.address
                && member.generation > from.generation
                && *state != State::Down
        });
        if let Some((twin, _)) = twin {
            let frame = frame::twin(&self.keys, twin);
            self.events.push_back(Event::Send { to: from.address.clone(), frame });
        }
    }

    fn check_room(&self, named: &[(Member, State)]) -> Result<(), FrameError> {
        let known: BTreeSet<_> =
            self.foca.iter_membership_state().map(|update| update.id().node).collect();
        let own = self.node();
        let is_new = |node: &NodeId| *node != own && !known.contains(node);
        let new = named.iter().filter(|(member, _)| is_new(&member.node)).count();
        if known.len() + new > MEMBERS_MAX {
            return Err(FrameError::TooManyMembers);
        }
        Ok(())
    }

    /// Takes over what the library wants.
    fn settle(&mut self, now: Duration) {
        while let Some((to, packet)) = self.runtime.to_send() {
            let frame = frame::packet(&self.keys, &packet);
            self.events.push_back(Event::Send { to: to.address, frame });
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            self.numbered += 1;
            self.timers.push(Reverse(Due { at: now + after, number: self.numbered, timer }));
        }
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                OwnedNotification::MemberUp(member) => self.events.push_back(Event::Up(member)),
                OwnedNotification::MemberDown(member) => self.events.push_back(Event::Down(member)),
                OwnedNotification::Rename(..) => self.events.push_back(Event::Moved),
                OwnedNotification::Rejoin(member) => {
                    self.who.member = member;
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

    /// Sets the library up for as many members as there are, about.
    fn fit(&mut self) {
        let count = u32::try_from(self.foca.num_members() + 1).unwrap_or(u32::MAX);
        let fits = self.sized_for.next_power_of_two() == count.next_power_of_two();
        if !fits && self.foca.set_config(settings(count)).is_ok() {
            self.sized_for = count;
        }
    }

    pub(super) fn knows(&self, node: &NodeId) -> bool {
        self.members().any(|(member, _)| member.node == *node)
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
