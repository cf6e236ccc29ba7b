//! A node among others, as a state machine without I/O: who they are, what they hold, and whom to
//! sync with next.
//!
//! ```text
//!   frames ──> gossip ──> members, heads ──> schedule ──> sessions to begin
//!   time   ──>   │                              ^
//!   frames <─────┘      outcomes of sessions ───┘
//! ```
//!
//! A [`Cluster`] is told of frames, of time, of what its own store holds and of how sessions ended;
//! it gives out frames to send, sessions to begin, and what is worth reporting. The same code runs
//! in a node and in the simulation of a hundred of them.

mod frame;
mod gossip;
mod head;
mod key;
mod member;
mod packet;
mod record;
mod replay;
mod roster;
mod schedule;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use foca::State;

pub use self::{
    frame::FRAME_LEN_MAX,
    head::{HEADS_MAX, Head, VERSION_LEN_MAX},
    key::{NODE_KEY_LEN, NodeKey, PublicKey},
    member::{ADDRESS_LEN_MAX, Member},
    roster::KnownMember,
    schedule::{EqualAt, Outcome, Peer, Policy, Standing},
    wire::FrameError,
};
use self::{
    gossip::{Event, Gossip, Own},
    member::GENERATION_MAX,
    schedule::Schedule,
};
use crate::{keys::Keys, message::NodeId};

/// Members that a cluster may have, those that are down included.
pub const MEMBERS_MAX: usize = 1024;

/// A member that was gone for so long is not remembered any more.
pub const REMEMBERED_TIME_MAX: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// An address to join by that does not answer for so long is reported,
const JOIN_TIME_MAX: Duration = Duration::from_secs(5);
/// and again after this time.
const JOIN_REPORT_PERIOD: Duration = Duration::from_secs(60);
/// A node that begins above this generation has no room left to renew it.
const BEGAN_MAX: u64 = GENERATION_MAX - (1 << 31);
/// How often an address to join by is asked while no member is known at all.
const JOIN_PERIOD: Duration = Duration::from_secs(5);
/// How often if none is known there, under that name at least.
const REJOIN_PERIOD: Duration = Duration::from_secs(60);
/// How often it is looked where members stand.
const STAND_PERIOD: Duration = Duration::from_secs(1);
/// A node announces what it holds at most so often, times a tenth of the members.
const TELL_PERIOD: Duration = Duration::from_millis(100);

/// Identity and address of a node in its cluster.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its node id.
    pub node: NodeId,
    /// The key by which it proves that the id is its own. It belongs to that id alone.
    pub key: NodeKey,
    /// Members of earlier runs: they are asked until they answer.
    pub remembered: Vec<KnownMember>,
    /// A random number that no other run of it has.
    pub run: [u8; 16],
    /// When this run began, NTP64; later than all that its log has.
    pub began: u64,
    /// Where others reach it: printable ASCII of at most [`ADDRESS_LEN_MAX`] bytes.
    pub address: String,
    /// The version of its program, at most [`VERSION_LEN_MAX`] bytes.
    pub version: String,
    /// Keys that follow from the cluster secret.
    pub keys: Keys,
    /// Whether it takes part in gossip.
    pub gossip: bool,
    /// Addresses of members that are asked for the others.
    pub join: Vec<String>,
    /// Addresses of peers that are synced with although they don't gossip.
    pub peers: Vec<String>,
    /// When to sync.
    pub policy: Policy,
    /// For everything that chance decides.
    pub seed: u64,
}

/// How a frame gets to where it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the address itself: it asks who is there.
    Ask,
    /// To a member, whose address is proved: there, or back by a call of its own.
    Member,
    /// Back by the call that it answers, or not at all: the address is what its sender says, and
    /// anybody could have others called by it.
    Back,
}

/// Something to do for the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a frame to an address. It may get lost.
    Send {
        /// Address of the receiver.
        to: String,
        /// The frame.
        frame: Vec<u8>,
        /// By which way.
        way: Way,
    },
    /// Begin a session with a peer, and tell [`Cluster::ended`] how it went.
    Sync {
        /// Its address.
        peer: String,
    },
    /// Tell those who watch.
    Note(Note),
}

/// Something that is worth reporting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A member is there.
    Up(Member),
    /// A member is gone.
    Down(Member),
    /// A member said good-bye.
    Left(Member),
    /// Another process has this node's id. If `refused`, it was there first, and this one must not
    /// go on.
    DuplicateNodeId {
        /// Its address.
        address: String,
        /// Whether it is this process that has to go.
        refused: bool,
    },
    /// A node has an id that belongs to another key: it is not taken for a member.
    DuplicateKey {
        /// The id.
        node: NodeId,
        /// The address that it names.
        address: String,
    },
    /// An address to join by does not answer.
    NoAnswer {
        /// The address.
        address: String,
    },
}

/// A node among others.
#[derive(Debug)]
pub struct Cluster {
    address: String,
    join: Vec<String>,
    gossip: Option<Gossip>,
    schedule: Schedule,
    outputs: VecDeque<Output>,
    head: Head,
    /// Whether the head has changed since it was announced.
    unannounced: bool,
    announced: Option<Duration>,
    join_sent: Option<Duration>,
    /// Addresses to join by that have not answered: since when, and when that was reported.
    unanswered: BTreeMap<String, (Duration, Option<Duration>)>,
    /// Whether members have come, gone or moved.
    moved: bool,
    stood: Option<Duration>,
    left: bool,
}

impl Cluster {
    /// A node that holds this.
    pub fn new(config: Config, head: Head, now: Duration) -> Self {
        let Config { node, key, run, began, address, version, keys, policy, seed, .. } = config;
        let generation = began.min(BEGAN_MAX);
        let member = Member { node, key: key.public(), generation, address: address.clone() };
        let remembered = config.remembered;
        let own = Own { keys, key, member, run, began, version, remembered };
        let gossip = config.gossip.then(|| Gossip::new(own, seed, now));
        let mut schedule = Schedule::new(policy, &head, seed, now);
        schedule.name(&without(&config.peers, &address), now);
        Self {
            join: without(&config.join, &address),
            address,
            gossip,
            schedule,
            outputs: VecDeque::new(),
            head,
            unannounced: true,
            announced: None,
            join_sent: None,
            unanswered: BTreeMap::new(),
            moved: false,
            stood: None,
            left: false,
        }
    }

    /// Takes in a frame, and says by which address its sender is reached, if it says so and is
    /// listened to.
    ///
    /// # Errors
    ///
    /// If it is none, or of somebody who does not belong here.
    pub fn receive(&mut self, frame: &[u8], now: Duration) -> Result<Option<String>, FrameError> {
        let Some(gossip) = self.gossip.as_mut().filter(|_| !self.left) else { return Ok(None) };
        let from = gossip.receive(frame, now)?;
        self.take_events(now);
        Ok(from)
    }

    /// The store holds something else now.
    pub fn changed(&mut self, head: Head, now: Duration) {
        if head.set != self.head.set {
            self.unannounced = true;
            self.schedule.changed(&head, now);
        }
        self.head = head;
    }

    /// A session has ended. What the store holds after it has to be noted before.
    pub fn ended(&mut self, peer: &str, outcome: Outcome, now: Duration) {
        let met = matches!(outcome, Outcome::Repaired(_) | Outcome::Partial);
        let node = self.schedule.peer(peer).and_then(|peer| peer.node).filter(|_| met);
        if let Some((gossip, node)) = self.gossip.as_mut().zip(node) {
            gossip.note_met(&node);
        }
        self.schedule.ended(peer, outcome, now);
    }

    /// No session begins from now on, or they do again.
    pub fn pause(&mut self, paused: bool) {
        self.schedule.pause(paused);
    }

    /// Wants a peer to be met now, or all of them, also if it is quarantined. False if it is not
    /// known.
    pub fn trigger(&mut self, peer: Option<&str>, now: Duration) -> bool {
        self.schedule.trigger(peer, now)
    }

    /// Forgets the member at an address, which has to be gone. False if there is none, or it is
    /// there, or it is a peer by name.
    pub fn forget(&mut self, address: &str) -> bool {
        let peer = self.schedule.peer(address).filter(|peer| peer.standing.is_gone());
        let Some(peer) = peer else { return false };
        let node = peer.node;
        if !self.schedule.remove(address) {
            return false;
        }
        if let Some((gossip, node)) = self.gossip.as_mut().zip(node) {
            gossip.forget_member(&node);
        }
        self.unanswered.remove(address);
        true
    }

    /// Changes when to sync, and which peers are named.
    pub fn reload(&mut self, policy: Policy, peers: &[String], now: Duration) {
        self.schedule.set_policy(policy, now);
        self.schedule.name(&without(peers, &self.address), now);
    }

    /// Says good-bye. Nothing is gossiped and no session begins after it.
    pub fn leave(&mut self, now: Duration) {
        self.schedule.pause(true);
        if let Some(gossip) = &mut self.gossip {
            gossip.leave(now);
        }
        self.take_events(now);
        self.left = true;
    }

    /// Does what is due by now.
    pub fn tick(&mut self, now: Duration) {
        if self.left {
            return;
        }
        if let Some(gossip) = &mut self.gossip {
            gossip.tick(now);
            if self.join_sent.is_none_or(|join_sent| join_sent + join_period(gossip) <= now) {
                self.join_sent = Some(now);
                let unknown = |address: &&String| {
                    let peer = self.schedule.peer(address);
                    peer.is_none_or(|peer| {
                        !matches!(peer.standing, Standing::Alive | Standing::Suspect)
                    })
                };
                for address in self.join.iter().filter(unknown) {
                    gossip.join(address, now);
                    self.unanswered.entry(address.clone()).or_insert((now, None));
                }
            }
        }
        self.take_events(now);
        // That somebody is suspected is not reported.
        if self.stood.is_none_or(|stood| now.saturating_sub(stood) >= STAND_PERIOD) {
            self.stand(now);
        }
        self.report_unanswered(now);
        self.announce(now);
        while let Some(peer) = self.schedule.next(now) {
            self.outputs.push_back(Output::Sync { peer });
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn due(&self) -> Option<Duration> {
        if self.left {
            return None;
        }
        let gossip = self.gossip.as_ref();
        let join = gossip.filter(|_| !self.join.is_empty()).map(|gossip| {
            self.join_sent.map_or(Duration::ZERO, |join_sent| join_sent + join_period(gossip))
        });
        let announce = gossip.filter(|gossip| self.unannounced && gossip.active() > 0);
        let announce = announce.map(|gossip| {
            self.announced.map_or(Duration::ZERO, |announced| announced + pace(gossip))
        });
        let timers = gossip.and_then(Gossip::due);
        [join, announce, timers, self.schedule.due()].into_iter().flatten().min()
    }

    /// Gives the next thing to do.
    pub fn output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// All peers by their addresses.
    pub fn peers(&self) -> impl Iterator<Item = (&str, &Peer)> {
        self.schedule.peers()
    }

    /// The peer at an address.
    pub fn peer(&self, address: &str) -> Option<&Peer> {
        self.schedule.peer(address)
    }

    /// Head of this node, as it was last announced.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether there is an address to join by.
    pub fn has_join(&self) -> bool {
        self.gossip.is_some() && !self.join.is_empty()
    }

    /// Addresses to join by that were asked and have not answered.
    pub fn unanswered(&self) -> impl Iterator<Item = &str> {
        self.unanswered.keys().map(String::as_str)
    }

    /// Reports addresses to join by that don't answer.
    fn report_unanswered(&mut self, now: Duration) {
        for (address, (since, reported)) in &mut self.unanswered {
            let late = now.saturating_sub(*since) >= JOIN_TIME_MAX;
            if late
                && reported
                    .is_none_or(|reported| now.saturating_sub(reported) >= JOIN_REPORT_PERIOD)
            {
                *reported = Some(now);
                let note = Note::NoAnswer { address: address.clone() };
                self.outputs.push_back(Output::Note(note));
            }
        }
    }

    /// The members to be remembered across restarts: see [`Config::remembered`].
    pub fn known_members(&self) -> Vec<KnownMember> {
        self.gossip.as_ref().map(Gossip::known).unwrap_or_default()
    }

    /// Counts the changes of [`known_members`](Self::known_members).
    pub fn known_revision(&self) -> u64 {
        self.gossip.as_ref().map_or(0, Gossip::known_revision)
    }

    /// Announces to the others what this node holds, if that is new and it is time.
    fn announce(&mut self, now: Duration) {
        let Some(gossip) = self.gossip.as_mut().filter(|_| self.unannounced) else { return };
        let early =
            self.announced.is_some_and(|announced| now.saturating_sub(announced) < pace(gossip));
        if early || gossip.active() == 0 {
            return;
        }
        (self.unannounced, self.announced) = (false, Some(now));
        gossip.publish(self.head.clone(), now);
        self.take_events(now);
    }

    fn take_events(&mut self, now: Duration) {
        let Some(gossip) = &mut self.gossip else { return };
        while let Some(event) = gossip.event() {
            match event {
                Event::Send { to, frame, way } => {
                    self.outputs.push_back(Output::Send { to, frame, way });
                }
                Event::Up(member) => {
                    (self.moved, self.unannounced) = (true, true);
                    self.outputs.push_back(Output::Note(Note::Up(member)));
                }
                Event::Down(member) => {
                    self.moved = true;
                    let left = gossip.has_left(&member.node);
                    let note = if left { Note::Left(member) } else { Note::Down(member) };
                    self.outputs.push_back(Output::Note(note));
                }
                Event::Moved => self.moved = true,
                Event::Renewed => self.unannounced = true,
                Event::Told(node) => {
                    let member = gossip.members().find(|(member, _)| member.node == node);
                    let address = member.map(|(member, _)| member.address.clone());
                    if let Some((address, head)) = address.zip(gossip.head_of(&node)) {
                        self.schedule.note_head(&address, head, now);
                    }
                }
                Event::Answered(address) => {
                    self.unanswered.remove(&address);
                }
                Event::DuplicateKey { node, address } => {
                    let note = Note::DuplicateKey { node, address };
                    self.outputs.push_back(Output::Note(note));
                }
                Event::DuplicateNodeId { address, refused } => {
                    self.outputs
                        .push_back(Output::Note(Note::DuplicateNodeId { address, refused }));
                }
            }
        }
        if std::mem::take(&mut self.moved) {
            self.stand(now);
        }
    }

    /// Takes over who is there and who is not.
    fn stand(&mut self, now: Duration) {
        self.stood = Some(now);
        let Some(gossip) = &mut self.gossip else { return };
        let mut places: BTreeMap<&str, (bool, &Member, State)> = BTreeMap::new();
        // Members that were here before this node are not met.
        for (member, state) in gossip.members().filter(|(member, _)| member.address != self.address)
        {
            // Where there was another node before, the one that is there now counts.
            let this = (state != State::Down, member, state);
            let place = places.entry(&member.address).or_insert(this);
            if (this.0, member.generation) > (place.0, place.1.generation) {
                *place = this;
            }
        }
        for (address, (_, member, state)) in places {
            let standing = match state {
                State::Alive => Standing::Alive,
                State::Suspect => Standing::Suspect,
                State::Down if gossip.has_left(&member.node) => Standing::Left,
                State::Down => Standing::Down,
            };
            let known = self.schedule.peer(address);
            let same = |peer: &Peer| {
                let named_and_down = standing.is_gone() && peer.standing == Standing::Named;
                peer.node == Some(member.node) && (peer.standing == standing || named_and_down)
            };
            if known.is_some_and(same) {
                continue;
            }
            self.schedule.stand(address, member.node, standing, now);
            if let Some(head) = gossip.head_of(&member.node) {
                self.schedule.note_head(address, head, now);
            }
        }
        let members: BTreeSet<_> =
            gossip.members().map(|(member, _)| (member.node, &member.address)).collect();
        let is_known = |node: &NodeId, address: &String| members.contains(&(*node, address));
        let gone = self.schedule.forget(is_known);
        for node in gone.into_iter().filter(|node| !gossip.knows(node)).collect::<Vec<_>>() {
            gossip.forget(&node);
        }
    }
}

/// How often a node asks at the addresses to join by.
fn join_period(gossip: &Gossip) -> Duration {
    if gossip.active() == 0 { JOIN_PERIOD } else { REJOIN_PERIOD }
}

/// How often news is announced: the more members, the less often, so that what each of them has to
/// carry does not grow with their number.
fn pace(gossip: &Gossip) -> Duration {
    let members = u32::try_from(gossip.active()).unwrap_or(u32::MAX);
    TELL_PERIOD.max(TELL_PERIOD * members / 10)
}

/// Addresses but for this node's own.
fn without(addresses: &[String], own: &str) -> Vec<String> {
    addresses.iter().filter(|address| *address != own).cloned().collect()
}
