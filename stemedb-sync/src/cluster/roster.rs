//! Roster of the nodes that have proved who and where they are.
//!
//! Gossip is hearsay: a frame can name any node at any address. A node is a member here only after
//! it has answered a random challenge, sent to the address that it says is its own, with its
//! signature. That is asked again for each run of it and for each address. Its key is remembered
//! from the first time; another key for the same id is not believed while the first may come back.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{MEMBERS_MAX, frame::Who, key::PublicKey, record::Record, replay::ReplayWindow};
use crate::message::NodeId;

/// Addresses of which nothing is proved that are kept to be asked.
const CANDIDATES_MAX: usize = 1024;
/// As many of them as one member may tell of.
const INTRODUCED_MAX: usize = 128;
/// Members on one host, those that are gone included: one machine cannot fill the roster.
const HOST_MAX: usize = MEMBERS_MAX / 4;
/// Questions that wait for an answer.
const CHALLENGES_MAX: usize = 256;
/// How long an answer may take.
const CHALLENGE_TIME_MAX: Duration = Duration::from_secs(10);
/// How many candidates are asked in each second.
const ASKED_PER_SECOND: usize = 32;
/// The first pause after a candidate was asked. It doubles.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(32);
/// The longest while no member is known at all.
const ALONE_PAUSE_MAX: Duration = Duration::from_secs(4);
/// A candidate that nobody named for so long, and that does not answer, is forgotten.
const NAMED_TIME_MAX: Duration = Duration::from_secs(120);
/// The key of a node that is gone is held for as long as it was known, within these bounds.
const HOLD_TIMES: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(60 * 60)];
/// Second keys that are told of, each once.
const DUPLICATES_MAX: usize = 256;

/// A member that is remembered across restarts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownMember {
    /// Its node id.
    pub node: NodeId,
    /// Its key.
    pub key: PublicKey,
    /// Where it was reached: printable ASCII of at most
    /// [`ADDRESS_LEN_MAX`](super::ADDRESS_LEN_MAX) bytes.
    pub address: String,
}

/// A node that has proved who and where it is.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// Its run that has answered.
    pub(super) run: [u8; 16],
    pub(super) window: ReplayWindow,
    /// When it was asked last because something of it was missing.
    pub(super) asked: Option<Duration>,
}

/// The key of a node, from the first time that it proved it.
#[derive(Clone, Copy, Debug)]
struct Binding {
    key: PublicKey,
    since: Duration,
    /// When it was last known to be there.
    alive: Duration,
}

/// An address that is to be asked.
#[derive(Debug)]
struct Candidate {
    /// Who told of it; `None` if it was the one who is there.
    introducer: Option<NodeId>,
    /// It is asked until it answers.
    kept: bool,
    asked: u32,
    next: Duration,
    named: Duration,
}

/// What came of a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The node is a member that was none before, or another run of it.
    New,
    /// It was known as it is.
    Known,
    /// Its id belongs to another key.
    OtherKey,
    /// There is no room.
    Full,
}

/// The nodes that have proved who and where they are.
#[derive(Debug)]
pub(super) struct Roster {
    own: NodeId,
    /// What challenges follow from.
    secret: [u8; 32],
    challenged: u64,
    entries: BTreeMap<NodeId, Entry>,
    bindings: BTreeMap<NodeId, Binding>,
    candidates: BTreeMap<String, Candidate>,
    /// Where questions were sent to, and when.
    challenges: BTreeMap<[u8; 16], (String, Duration)>,
    /// Second keys that were told of.
    duplicates: BTreeSet<(NodeId, PublicKey)>,
    /// When candidates were last asked, and how many since the second began.
    second: Duration,
    asked: usize,
    /// Counts the changes of what is to be remembered.
    revision: u64,
}

impl Roster {
    /// An empty roster of this node. The members that are remembered from earlier runs are asked
    /// until they answer.
    pub(super) fn new(
        own: NodeId,
        secret: [u8; 32],
        remembered: Vec<KnownMember>,
        now: Duration,
    ) -> Self {
        let mut roster = Self {
            own,
            secret,
            challenged: 0,
            entries: BTreeMap::new(),
            bindings: BTreeMap::new(),
            candidates: BTreeMap::new(),
            challenges: BTreeMap::new(),
            duplicates: BTreeSet::new(),
            second: now,
            asked: 0,
            revision: 0,
        };
        for known in remembered.into_iter().take(MEMBERS_MAX).filter(|known| known.node != own) {
            let KnownMember { node, key, address } = known;
            roster.bindings.insert(node, Binding { key, since: now, alive: now });
            let candidate =
                Candidate { introducer: Some(own), kept: true, asked: 0, next: now, named: now };
            roster.candidates.insert(address, candidate);
        }
        roster
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&Entry> {
        self.entries.get(node)
    }

    pub(super) fn get_mut(&mut self, node: &NodeId) -> Option<&mut Entry> {
        self.entries.get_mut(node)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&NodeId, &Entry)> {
        self.entries.iter()
    }

    /// Counts the changes of what [`known`](Self::known) gives.
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// The members to be remembered.
    pub(super) fn known(&self) -> impl Iterator<Item = KnownMember> {
        self.entries.iter().map(|(node, entry)| {
            let member = &entry.record.member;
            KnownMember { node: *node, key: member.key, address: member.address.clone() }
        })
    }

    /// Whether an id belongs to another key than this one, for now.
    pub(super) fn is_held(&self, node: &NodeId, key: &PublicKey, now: Duration) -> bool {
        let binding = self.bindings.get(node).filter(|binding| binding.key != *key);
        binding.is_some_and(|binding| {
            let [least, most] = HOLD_TIMES;
            let known = binding.alive.saturating_sub(binding.since).clamp(least, most);
            now < binding.alive + known
        })
    }

    /// Whether a second key of an id is to be told of: each is, once.
    pub(super) fn is_new_duplicate(&mut self, node: NodeId, key: PublicKey) -> bool {
        self.duplicates.len() < DUPLICATES_MAX && self.duplicates.insert((node, key))
    }

    /// Notes that a node is there.
    pub(super) fn note_alive(&mut self, node: &NodeId, now: Duration) {
        if let Some(binding) = self.bindings.get_mut(node) {
            binding.alive = now;
        }
    }

    /// Names an address to be asked who is there, unless it is asked already. `introducer` is who
    /// told of it: this node itself, a member, or `None` if the one who is there says so.
    pub(super) fn name(&mut self, address: &str, introducer: Option<NodeId>, now: Duration) {
        let from_own = introducer == Some(self.own);
        if let Some(candidate) = self.candidates.get_mut(address) {
            candidate.named = now;
            if from_own || introducer.is_none() {
                candidate.next = candidate.next.min(now + 2 * PAUSE);
            }
            return;
        }
        let same = self.candidates.values().filter(|known| known.introducer == introducer).count();
        let is_same = |candidate: &Candidate| candidate.introducer == introducer;
        if !from_own && same >= INTRODUCED_MAX && !self.give_way(is_same) {
            return;
        }
        if self.candidates.len() >= CANDIDATES_MAX && !self.give_way(|_| true) {
            return;
        }
        let candidate = Candidate { introducer, kept: false, asked: 0, next: now, named: now };
        self.candidates.insert(address.to_owned(), candidate);
    }

    /// Forgets the candidate that was asked most often in vain, of those that this is true of.
    fn give_way(&mut self, may: impl Fn(&Candidate) -> bool) -> bool {
        let may_go = self
            .candidates
            .iter()
            .filter(|(_, candidate)| may(candidate) && !candidate.kept && candidate.asked > 0);
        let gone = may_go.max_by_key(|(_, candidate)| candidate.asked);
        let Some(gone) = gone.map(|(address, _)| address.clone()) else { return false };
        self.candidates.remove(&gone).is_some()
    }

    /// The addresses that are to be asked now. `alone` if no member is known.
    pub(super) fn due_candidates(&mut self, alone: bool, now: Duration) -> Vec<String> {
        self.challenges.retain(|_, (_, at)| now.saturating_sub(*at) < CHALLENGE_TIME_MAX);
        self.candidates.retain(|_, candidate| {
            let named = now.saturating_sub(candidate.named) < NAMED_TIME_MAX;
            candidate.kept || named || candidate.asked < 3
        });
        if now.saturating_sub(self.second) >= PAUSE {
            (self.second, self.asked) = (now, 0);
        }
        let mut due: Vec<_> = self
            .candidates
            .iter()
            .filter(|(_, candidate)| candidate.next <= now)
            .map(|(address, candidate)| {
                // What this node knows itself comes first, and what was not asked yet.
                let hearsay = candidate.introducer != Some(self.own);
                ((hearsay, candidate.asked, candidate.next), address.clone())
            })
            .collect();
        due.sort();
        due.truncate(ASKED_PER_SECOND.saturating_sub(self.asked));
        self.asked += due.len();
        let longest = if alone { ALONE_PAUSE_MAX } else { PAUSE_MAX };
        let due: Vec<String> = due.into_iter().map(|(_, address)| address).collect();
        for address in &due {
            if let Some(candidate) = self.candidates.get_mut(address) {
                let pause = PAUSE.saturating_mul(1 << candidate.asked.min(16)).min(longest);
                candidate.next = now + pause;
                candidate.asked = candidate.asked.saturating_add(1);
            }
        }
        due
    }

    /// When a candidate is to be asked next.
    pub(super) fn due(&self) -> Option<Duration> {
        let next = self.candidates.values().map(|candidate| candidate.next).min();
        let full = self.asked >= ASKED_PER_SECOND;
        next.map(|next| if full { next.max(self.second + PAUSE) } else { next })
    }

    /// A challenge for whoever is at an address, which only its answer can name.
    pub(super) fn challenge(&mut self, address: &str, now: Duration) -> Option<[u8; 16]> {
        if self.challenges.len() >= CHALLENGES_MAX {
            self.challenges.retain(|_, (_, at)| now.saturating_sub(*at) < CHALLENGE_TIME_MAX);
            if self.challenges.len() >= CHALLENGES_MAX {
                return None;
            }
        }
        self.challenged += 1;
        let hash = blake3::keyed_hash(&self.secret, &self.challenged.to_le_bytes());
        let [challenge, _] = crate::keys::halves(hash.as_bytes());
        self.challenges.insert(challenge, (address.to_owned(), now));
        Some(challenge)
    }

    /// The address that an answer comes from, if it was asked for. Each answer counts once.
    pub(super) fn take_challenge(&mut self, challenge: &[u8; 16], now: Duration) -> Option<String> {
        let (address, at) = self.challenges.remove(challenge)?;
        (now.saturating_sub(at) < CHALLENGE_TIME_MAX).then_some(address)
    }

    /// Who is at an address has answered, whoever it is: it need not be asked any more.
    pub(super) fn answered(&mut self, address: &str) {
        self.candidates.remove(address);
    }

    /// Takes in a node that has just proved its key, its run and its address.
    pub(super) fn admit(&mut self, who: &Who, now: Duration) -> Admission {
        let member = &who.record.member;
        let node = member.node;
        if self.is_held(&node, &member.key, now) {
            return Admission::OtherKey;
        }
        let new = Entry {
            record: who.record.clone(),
            run: who.run,
            window: ReplayWindow::default(),
            asked: None,
        };
        let has_room = self.has_room(&member.address);
        match self.entries.get_mut(&node) {
            Some(entry) if entry.record.member.key == member.key => {
                if let Some(binding) = self.bindings.get_mut(&node) {
                    binding.alive = now;
                }
                let moved = entry.record.member.address != member.address;
                if who.record.rank() > entry.record.rank() {
                    entry.record = new.record;
                }
                self.revision += u64::from(moved);
                if entry.run == who.run {
                    return if moved { Admission::New } else { Admission::Known };
                }
                (entry.run, entry.window) = (new.run, new.window);
                return Admission::New;
            }
            None if !has_room => return Admission::Full,
            Some(_) | None => {}
        }
        let binding = Binding { key: member.key, since: now, alive: now };
        let known = self.bindings.entry(node).or_insert(binding);
        if known.key == member.key {
            known.alive = now;
        } else {
            *known = binding;
        }
        self.entries.insert(node, new);
        self.revision += 1;
        Admission::New
    }

    /// Replaces a record by a later one of the same key at the same address.
    pub(super) fn update(&mut self, record: Record) {
        if let Some(entry) = self.entries.get_mut(&record.member.node) {
            entry.record = record;
        }
    }

    /// Forgets a node. Its key is held for a while.
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.revision += u64::from(self.entries.remove(node).is_some());
    }

    /// Forgets keys that are held no longer.
    pub(super) fn expire(&mut self, now: Duration) {
        let [_, most] = HOLD_TIMES;
        let entries = &self.entries;
        self.bindings.retain(|node, binding| {
            entries.contains_key(node) || now.saturating_sub(binding.alive) < most
        });
    }

    fn has_room(&self, address: &str) -> bool {
        let host = host_of(address);
        let on_host = self.entries.values().map(|entry| host_of(&entry.record.member.address));
        self.entries.len() < MEMBERS_MAX
            && on_host.filter(|known| *known == host).count() < HOST_MAX
    }
}

/// An address without its port.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

#[cfg(test)]
mod tests {
    use super::{super::key::NodeKey, super::member::Member, *};
    use crate::keys::Keys;

    const SECOND: Duration = Duration::from_secs(1);

    fn roster() -> Roster {
        Roster::new([0; 16], [7; 32], Vec::new(), SECOND)
    }

    fn who(number: u16, key: u8, run: u8) -> Who {
        let mut node = [1; 16];
        node[..2].copy_from_slice(&number.to_le_bytes());
        let (keys, key) = (Keys::new(None), NodeKey::from_seed(&[key; 32]));
        let address = format!("host{}:{number}", number / 8);
        let member = Member { node, key: key.public(), generation: 5, address };
        let record = Record::sign(&keys, &key, member, 0, false);
        Who { record, run: [run; 16], began: 1, version: String::new() }
    }

    #[test]
    fn made_up_members_of_one_introducer_leave_room_for_others() {
        let mut roster = roster();
        let (liar, honest) = ([5; 16], [6; 16]);
        for number in 0..5_000 {
            roster.name(&format!("made-up-{number}:1"), Some(liar), SECOND);
        }
        assert_eq!(roster.candidates.len(), INTRODUCED_MAX);
        roster.name("real:1", Some(honest), SECOND);
        roster.name("seed:1", Some(roster.own), SECOND);
        let mut asked = roster.due_candidates(false, SECOND);
        assert_eq!(asked.first().map(String::as_str), Some("seed:1"));
        assert_eq!(asked.len(), ASKED_PER_SECOND);
        for second in 2..8 {
            asked.extend(roster.due_candidates(false, second * SECOND));
        }
        assert!(asked.contains(&"real:1".to_owned()));
        // What never answers is asked ever more rarely, and forgotten once nobody names it.
        let later: usize =
            (100..112).map(|second| roster.due_candidates(false, second * SECOND).len()).sum();
        assert!(later <= 12 * ASKED_PER_SECOND);
        for second in 200..260 {
            let _ = roster.due_candidates(false, second * SECOND);
        }
        assert_eq!(roster.candidates.len(), 0);
    }

    #[test]
    fn an_answer_counts_once_and_for_a_while() {
        let mut roster = roster();
        let one = roster.challenge("a:1", SECOND).unwrap();
        let other = roster.challenge("b:1", SECOND).unwrap();
        assert_ne!(one, other);
        assert_eq!(roster.take_challenge(&one, 2 * SECOND).as_deref(), Some("a:1"));
        assert_eq!(roster.take_challenge(&one, 2 * SECOND), None);
        assert_eq!(roster.take_challenge(&other, 12 * SECOND), None);
        assert_eq!(roster.take_challenge(&[0; 16], SECOND), None);
    }

    #[test]
    fn a_second_key_waits_until_the_first_is_gone_for_good() {
        let mut roster = roster();
        assert_eq!(roster.admit(&who(1, 1, 1), SECOND), Admission::New);
        assert_eq!(roster.admit(&who(1, 1, 1), SECOND), Admission::Known);
        assert_eq!(roster.admit(&who(1, 1, 2), SECOND), Admission::New);
        assert_eq!(roster.admit(&who(1, 2, 1), 2 * SECOND), Admission::OtherKey);
        let node = who(1, 1, 1).record.member.node;
        roster.note_alive(&node, 100 * SECOND);
        // Known for 99 s, so held for 99 s.
        assert_eq!(roster.admit(&who(1, 2, 1), 198 * SECOND), Admission::OtherKey);
        assert_eq!(roster.admit(&who(1, 2, 1), 200 * SECOND), Admission::New);
        assert_eq!(roster.admit(&who(1, 1, 3), 201 * SECOND), Admission::OtherKey);
    }

    #[test]
    fn one_host_does_not_fill_the_roster() {
        let mut roster = roster();
        let at_host = |number: u16, host: &str| {
            let mut who = who(number, 1, 1);
            who.record.member.address = format!("{host}:{number}");
            who
        };
        let admitted = |roster: &mut Roster, number, host| {
            roster.admit(&at_host(number, host), SECOND) == Admission::New
        };
        let count = (0..2_000).filter(|number| admitted(&mut roster, *number, "liar")).count();
        assert_eq!(count, HOST_MAX);
        assert!(admitted(&mut roster, 3_000, "honest"));
    }

    #[test]
    fn remembered_members_are_asked_until_they_answer() {
        let known = KnownMember { node: [3; 16], key: [4; 32], address: "old:1".to_owned() };
        let mut roster = Roster::new([0; 16], [7; 32], vec![known], SECOND);
        let times: Vec<u32> = (1..2_000)
            .filter(|second| !roster.due_candidates(true, *second * SECOND).is_empty())
            .collect();
        assert!(times.windows(2).all(|two| two[1] - two[0] <= 5), "{times:?}");
        assert!(roster.is_held(&[3; 16], &[5; 32], 20 * SECOND));
        roster.answered("old:1");
        assert!(roster.due_candidates(true, 3_000 * SECOND).is_empty());
    }
}
