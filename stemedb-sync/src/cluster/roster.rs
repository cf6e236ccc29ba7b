//! Roster of the nodes that have proved who and where they are.
//!
//! Gossip is hearsay: a frame can name any node at any address. A node is a member here only after
//! it has answered a random challenge, sent to the address that it says is its own, with its
//! signature. That is asked again for each run of it and for each address. Its key is remembered
//! from the first time; another key for the same id is not believed while the first may come back.
//!
//! At one address is one member, and one that was met and answers gives way to nobody.

mod claims;
mod duplicates;
mod place;

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use foca::State;

use self::{
    claims::Claims,
    duplicates::Duplicates,
    place::{Host, Place},
};
use super::{
    MEMBERS_MAX, frame::Who, key::PublicKey, member::Member, record::Record, replay::ReplayWindow,
};
use crate::message::NodeId;

/// Addresses of which nothing is proved that are kept to be asked.
const CANDIDATES_MAX: usize = 1024;
/// As many of them as one member may tell of.
const INTRODUCED_MAX: usize = 128;
/// Members on one machine, those that are gone included: it cannot fill the roster.
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

/// A member that is remembered across restarts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownMember {
    /// Its node id.
    pub node: NodeId,
    /// Its key.
    pub key: PublicKey,
    /// Address at which it was reached: printable ASCII of at most
    /// [`ADDRESS_LEN_MAX`](super::ADDRESS_LEN_MAX) bytes.
    pub address: String,
    /// For how long it was there.
    pub known: Duration,
    /// For how long it has been gone since; zero if it is there.
    pub away: Duration,
    /// Whether a session with it ever ended well.
    pub met: bool,
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
    place: Place,
    /// When it proved itself last.
    proved: Duration,
    /// Whether it is suspected or down.
    silent: bool,
}

/// An address that is to be asked.
#[derive(Debug)]
struct Candidate {
    /// Node that told of it; `None` if it was the one who is there.
    introducer: Option<NodeId>,
    /// It is asked until it answers.
    kept: bool,
    asked: u32,
    next: Duration,
    named: Duration,
}

/// Result of a proof.
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
    /// Seed of challenges.
    secret: [u8; 32],
    challenged: u64,
    entries: BTreeMap<NodeId, Entry>,
    claims: Claims,
    candidates: BTreeMap<String, Candidate>,
    /// Addresses that questions were sent to, and when.
    challenges: BTreeMap<[u8; 16], (String, Duration)>,
    duplicates: Duplicates,
    /// Members that had to give way.
    dismissed: Vec<Member>,
    /// When candidates were last asked, and how many since the second began.
    second: Duration,
    asked: usize,
    /// When it was last looked after who is there.
    looked: Duration,
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
            claims: Claims::default(),
            candidates: BTreeMap::new(),
            challenges: BTreeMap::new(),
            duplicates: Duplicates::default(),
            dismissed: Vec::new(),
            second: now,
            asked: 0,
            looked: now,
            revision: 0,
        };
        for known in remembered.into_iter().take(MEMBERS_MAX).filter(|known| known.node != own) {
            roster.claims.remember(&known, now);
            let candidate =
                Candidate { introducer: Some(own), kept: true, asked: 0, next: now, named: now };
            roster.candidates.insert(known.address, candidate);
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

    /// Members to remember across restarts. One whose id belongs to another key, which may come
    /// back, is not among them.
    pub(super) fn known(&self) -> impl Iterator<Item = KnownMember> {
        self.entries.iter().filter_map(|(node, entry)| {
            let Member { key, address, .. } = &entry.record.member;
            let claim = self.claims.first(node).filter(|claim| claim.key == *key)?;
            let (known, away, met) = (claim.known, claim.away(self.looked), claim.met);
            Some(KnownMember { node: *node, key: *key, address: address.clone(), known, away, met })
        })
    }

    /// Whether an id belongs to another key than this one, for now.
    pub(super) fn is_held(&self, node: &NodeId, key: &PublicKey, now: Duration) -> bool {
        self.claims.is_held(node, key, now)
    }

    /// Whether to report a duplicate of an id: a second key that was not reported lately.
    pub(super) fn is_new_duplicate(&mut self, node: NodeId, key: PublicKey, now: Duration) -> bool {
        self.duplicates.is_new(node, key, now)
    }

    /// Notes how a member is, by its key.
    pub(super) fn note_state(
        &mut self,
        node: &NodeId,
        key: &PublicKey,
        state: State,
        now: Duration,
    ) {
        if let Some(entry) = self.entries.get_mut(node) {
            entry.silent = state != State::Alive;
        }
        if state != State::Down {
            self.claims.note_alive(node, key, now);
        }
    }

    /// Notes that a session with a member ended well.
    pub(super) fn note_met(&mut self, node: &NodeId) {
        if let Some(entry) = self.entries.get(node) {
            let new = self.claims.note_met(node, &entry.record.member.key);
            self.revision += u64::from(new);
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

    /// A challenge for the node at an address, which only its answer can name.
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

    /// The node at an address has answered: it need not be asked any more.
    pub(super) fn answered(&mut self, address: &str) {
        self.candidates.remove(address);
    }

    /// Takes in a node that has just proved its key, its run and its address. Who has to give way
    /// to it is told by [`take_dismissed`](Self::take_dismissed).
    pub(super) fn admit(&mut self, who: &Who, now: Duration) -> Admission {
        let member = &who.record.member;
        let node = member.node;
        if self.is_held(&node, &member.key, now) {
            return Admission::OtherKey;
        }
        let known = self.entries.get(&node).filter(|known| known.record.member.key == member.key);
        let stays = known.is_some_and(|known| known.record.member.address == member.address);
        let place = Place::of(&member.address);
        if !stays && !self.make_room(&node, &place) {
            return Admission::Full;
        }
        self.claims.prove(node, member.key, now);
        let new = Entry {
            record: who.record.clone(),
            run: who.run,
            window: ReplayWindow::default(),
            asked: None,
            place,
            proved: now,
            silent: false,
        };
        let known = self.entries.get_mut(&node);
        if let Some(entry) = known.filter(|known| known.record.member.key == member.key) {
            entry.proved = now;
            if who.record.rank() > entry.record.rank() {
                (entry.record, entry.place) = (new.record, new.place);
            }
            self.revision += u64::from(!stays);
            if entry.run == who.run {
                return if stays { Admission::Known } else { Admission::New };
            }
            (entry.run, entry.window) = (new.run, new.window);
            return Admission::New;
        }
        let other_key = self.entries.insert(node, new);
        self.dismissed.extend(other_key.map(|other| other.record.member));
        self.revision += 1;
        Admission::New
    }

    /// Members that had to give way since this was asked last.
    pub(super) fn take_dismissed(&mut self) -> Vec<Member> {
        std::mem::take(&mut self.dismissed)
    }

    /// Makes room for a node at a place, if that can be. Who is there already, and answers, stays:
    /// else one process could be any number of members. Another one is there only once that one is
    /// gone, which is noticed soon.
    fn make_room(&mut self, node: &NodeId, place: &Place) -> bool {
        let there = self.entries.iter().find(|(id, entry)| *id != node && entry.place == *place);
        if let Some((there, entry)) = there {
            if !entry.silent {
                return false;
            }
            let there = *there;
            self.dismiss(&there);
        }
        let host = place.host();
        let others = || self.entries.iter().filter(|(id, _)| *id != node);
        let on_host = others().filter(|(_, entry)| entry.place.host() == host).count();
        let on_any = others().count();
        (on_host < HOST_MAX || self.dismiss_one(node, Some(&host)))
            && (on_any < MEMBERS_MAX || self.dismiss_one(node, None))
    }

    /// Has one member give way, on this machine if one is given. None that was met and answers
    /// does: rather one that was not met, that is silent, of a machine that has many, and that has
    /// been there for long without being met.
    fn dismiss_one(&mut self, except: &NodeId, host: Option<&Host>) -> bool {
        let mut on_host: BTreeMap<Host, usize> = BTreeMap::new();
        for entry in self.entries.values() {
            *on_host.entry(entry.place.host()).or_insert(0) += 1;
        }
        let may_go = self.entries.iter().filter_map(|(node, entry)| {
            let met = self.claims.is_met(node, &entry.record.member.key);
            let on = entry.place.host();
            let fits = node != except && host.is_none_or(|host| *host == on);
            let rank = (met, !entry.silent, Reverse(on_host.get(&on)), entry.proved);
            (fits && (!met || entry.silent)).then_some((rank, *node))
        });
        let Some((_, node)) = may_go.min() else { return false };
        self.dismiss(&node);
        true
    }

    fn dismiss(&mut self, node: &NodeId) {
        let gone = self.entries.remove(node);
        self.revision += u64::from(gone.is_some());
        self.dismissed.extend(gone.map(|gone| gone.record.member));
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

    /// Forgets keys of nodes that were gone for too long.
    pub(super) fn expire(&mut self, now: Duration) {
        self.looked = now;
        let entries = &self.entries;
        self.claims.expire(|node| entries.contains_key(node), now);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::key::NodeKey, *};
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
        be_there(&mut roster, &who(1, 1, 1), 2..101);
        // Known for 99 s, so held for 99 s.
        assert_eq!(roster.admit(&who(1, 2, 1), 198 * SECOND), Admission::OtherKey);
        assert_eq!(roster.admit(&who(1, 2, 1), 200 * SECOND), Admission::New);
        assert_eq!(roster.admit(&who(1, 3, 1), 201 * SECOND), Admission::OtherKey, "a third");
        // The first one comes back all the same, and is the one that is remembered.
        assert_eq!(roster.known().count(), 0);
        assert_eq!(roster.admit(&who(1, 1, 3), 202 * SECOND), Admission::New);
        let [first, second] = [1, 2].map(|key| who(1, key, 1).record.member);
        assert_eq!(roster.take_dismissed(), [first.clone(), second]);
        assert_eq!(roster.known().map(|known| known.key).collect::<Vec<_>>(), [first.key]);
        assert_eq!(roster.admit(&who(1, 2, 1), 203 * SECOND), Admission::OtherKey);
    }

    #[test]
    fn a_second_key_becomes_the_first_once_it_was_there_for_longer() {
        let mut roster = roster();
        assert_eq!(roster.admit(&who(1, 1, 1), SECOND), Admission::New);
        be_there(&mut roster, &who(1, 1, 1), 2..101);
        assert_eq!(roster.admit(&who(1, 2, 1), 300 * SECOND), Admission::New);
        be_there(&mut roster, &who(1, 2, 1), 301..3_901);
        assert_eq!(roster.known().count(), 0, "not longer than any id is held");
        be_there(&mut roster, &who(1, 2, 1), 3_901..4_000);
        assert_eq!(roster.known().count(), 1);
        assert_eq!(roster.admit(&who(1, 1, 2), 4_000 * SECOND), Admission::OtherKey);
    }

    #[test]
    fn the_id_of_a_remembered_member_is_held_after_a_restart() {
        let [first, second] = [1, 2].map(|key| who(1, key, 1).record.member);
        let (known, away) = (5_000 * SECOND, 100 * SECOND);
        let Member { node, key, address, .. } = first;
        let remembered = KnownMember { node, key, address, known, away, met: true };
        let mut roster = Roster::new([0; 16], [7; 32], vec![remembered.clone()], SECOND);
        assert_eq!(roster.admit(&who(1, 2, 1), 3_500 * SECOND), Admission::OtherKey);
        assert_eq!(roster.admit(&who(1, 2, 1), 3_502 * SECOND), Admission::New);
        assert_eq!(roster.known().count(), 0, "it is not the one to be remembered");
        assert_eq!(roster.admit(&who(1, 1, 1), 3_900 * SECOND), Admission::New);
        assert_eq!(roster.take_dismissed(), [second]);
        let back = KnownMember { away: Duration::ZERO, ..remembered.clone() };
        assert_eq!(roster.known().collect::<Vec<_>>(), [back]);
        // One that was there for a minute and that nobody met may have lied about its id.
        let (known, away) = (60 * SECOND, Duration::ZERO);
        let liar = KnownMember { known, away, met: false, ..remembered };
        let mut roster = Roster::new([0; 16], [7; 32], vec![liar], SECOND);
        assert_eq!(roster.admit(&who(1, 2, 1), 60 * SECOND), Admission::OtherKey);
        assert_eq!(roster.admit(&who(1, 2, 1), 61 * SECOND), Admission::New);
    }

    /// Notes each second that a member is there.
    fn be_there(roster: &mut Roster, who: &Who, seconds: std::ops::Range<u32>) {
        let Member { node, key, .. } = &who.record.member;
        for second in seconds {
            roster.note_state(node, key, State::Alive, second * SECOND);
            roster.expire(second * SECOND);
        }
    }

    fn at(number: u16, address: &str) -> Who {
        let mut who = who(number, 1, 1);
        who.record.member.address = address.to_owned();
        who
    }

    fn admitted(roster: &mut Roster, number: u16, address: &str) -> bool {
        roster.admit(&at(number, address), SECOND) == Admission::New
    }

    fn silence(roster: &mut Roster, number: u16) {
        let Member { node, key, .. } = who(number, 1, 1).record.member;
        roster.note_state(&node, &key, State::Suspect, SECOND);
    }

    #[test]
    fn at_one_address_is_one_member() {
        let mut roster = roster();
        assert!(admitted(&mut roster, 1, "honest:7845"));
        let spellings = ["honest:7845", "HONEST", "honest.:7845", "http://Honest/"];
        for number in 2..1_000 {
            let spelling = spellings[usize::from(number) % spellings.len()];
            assert!(!admitted(&mut roster, number, spelling), "{spelling}");
        }
        // One whose disk was emptied is another node where the first one was.
        silence(&mut roster, 1);
        assert!(admitted(&mut roster, 2, "honest:7845"));
        assert_eq!(roster.take_dismissed(), [at(1, "honest:7845").record.member]);
        // Nor does anybody move to where another one is.
        assert!(admitted(&mut roster, 3, "other:1"));
        assert_eq!(roster.admit(&at(3, "honest"), SECOND), Admission::Full);
        assert_eq!(roster.entries.len(), 2);
    }

    #[test]
    fn one_machine_does_not_fill_the_roster() {
        let mut roster = roster();
        for number in 0..1_300 {
            let host = ["localhost", "LocalHost", "127.0.0.1", "[::1]"][usize::from(number) % 4];
            assert!(admitted(&mut roster, number, &format!("{host}:{}", number + 1)));
        }
        assert_eq!(roster.entries.len(), HOST_MAX);
        assert!(admitted(&mut roster, 3_000, "honest:1"));
        assert_eq!(roster.take_dismissed().len(), 1_300 - HOST_MAX);
    }

    #[test]
    fn who_was_met_and_answers_gives_way_to_nobody() {
        let mut roster = roster();
        let honest = |number: u16| format!("honest{number}:1");
        for number in 0..20 {
            assert!(admitted(&mut roster, number, &honest(number)));
            roster.note_met(&who(number, 1, 1).record.member.node);
        }
        // Some of them are silent for a moment.
        (0..10).for_each(|number| silence(&mut roster, number));
        for number in 100..5_000 {
            let address = format!("liar{}:{number}", number % 6);
            assert!(admitted(&mut roster, number, &address), "{address}");
        }
        assert_eq!(roster.entries.len(), MEMBERS_MAX);
        // Another one comes in, and is not the next to go.
        assert!(admitted(&mut roster, 50, &honest(50)));
        for number in 5_000..5_500 {
            assert!(admitted(&mut roster, number, &format!("liar{}:{number}", number % 6)));
        }
        for number in (0..20).chain([50]) {
            assert!(roster.get(&who(number, 1, 1).record.member.node).is_some(), "{number}");
        }
        // Where all were met and answer there is no room.
        for node in roster.entries.keys().copied().collect::<Vec<_>>() {
            roster.note_met(&node);
            roster.note_state(&node, &who(1, 1, 1).record.member.key, State::Alive, SECOND);
        }
        assert!(!admitted(&mut roster, 6_000, "late:1"));
    }

    #[test]
    fn remembered_members_are_asked_until_they_answer() {
        let known = KnownMember {
            node: [3; 16],
            key: [4; 32],
            address: "old:1".to_owned(),
            known: Duration::ZERO,
            away: Duration::ZERO,
            met: false,
        };
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
