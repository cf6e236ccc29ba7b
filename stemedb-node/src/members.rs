//! Members that this node has met: the file `MEMBERS`.
//!
//! A small file of the store, in which times are in seconds.
//!
//! With it members find each other after all of them were down, also where the one that they joined
//! by is gone for good, and know each other's keys. Without it they join as the first time.
//!
//! No clock is in it: one that is wrong, or a node that was off for weeks, makes nobody forgotten.

use std::{cmp::Reverse, collections::BTreeMap, io, time::Duration};

use stemedb_sync::{
    cluster::{ADDRESS_LEN_MAX, KnownMember, MEMBERS_MAX, PublicKey, REMEMBERED_TIME_MAX},
    message::NodeId,
};
use stemedb_wal::disk::Disk;
use tracing::warn;

use stemedb_store::small_file::{SmallFile, SmallFileError};

const FILE: SmallFile = SmallFile {
    name: "MEMBERS",
    temp_name: "MEMBERS.tmp",
    magic: *b"STEMEMEM",
    version: 3,
    content_len_max: 16 + MEMBERS_MAX * (size_of::<ArchivedStored>() + ADDRESS_LEN_MAX),
    private: false,
};

/// Time after which it is noted again that a member is still there.
const NOTED_PERIOD: Duration = Duration::from_secs(60 * 60);

/// The longest time that is read, in seconds: some hundred years.
const SECONDS_MAX: u64 = u32::MAX as u64;

/// A member as it is in the file.
#[derive(Debug, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
struct Stored {
    node: NodeId,
    key: PublicKey,
    known: u64,
    away: u64,
    met: bool,
    address: String,
}

impl From<&KnownMember> for Stored {
    fn from(member: &KnownMember) -> Self {
        Self {
            node: member.node,
            key: member.key,
            known: member.known.as_secs(),
            away: member.away.as_secs(),
            met: member.met,
            address: member.address.clone(),
        }
    }
}

impl Stored {
    /// The member; `None` if nobody is like that.
    fn member(self) -> Option<KnownMember> {
        let Self { node, key, known, away, met, address } = self;
        let shown = (1..=ADDRESS_LEN_MAX).contains(&address.len())
            && address.bytes().all(|byte| byte.is_ascii_graphic());
        let likely = known <= SECONDS_MAX && away <= SECONDS_MAX;
        let [known, away] = [known, away].map(Duration::from_secs);
        (shown && likely).then_some(KnownMember { node, key, address, known, away, met })
    }
}

/// The members that are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Members {
    known: BTreeMap<NodeId, KnownMember>,
    /// Revision and time of the last [`note`](Self::note).
    noted: (u64, Duration),
}

impl Members {
    /// Reads the members of earlier; none if the file is missing. A file that can't be used is
    /// reported.
    pub(super) fn load(disk: &dyn Disk, now: Duration) -> Self {
        let known = FILE.load(disk).and_then(|stored: Option<Vec<Stored>>| {
            let known = stored.map(|stored| members(stored).ok_or(SmallFileError::Damaged));
            known.transpose()
        });
        let known = known.unwrap_or_else(|error| {
            warn!(
                %error,
                path = %disk.path(FILE.name).display(),
                "the members of earlier are not known: this node joins as the first time"
            );
            None
        });
        Self { known: known.unwrap_or_default(), noted: (0, now) }
    }

    /// All of them.
    pub(super) fn known(&self) -> Vec<KnownMember> {
        self.known.values().cloned().collect()
    }

    /// Whether something is to be noted by now.
    pub(super) fn is_due(&self, revision: u64, now: Duration) -> bool {
        let (noted, at) = self.noted;
        noted != revision || now.saturating_sub(at) >= NOTED_PERIOD
    }

    /// Notes the members that there are. Others have been gone for longer by now, if anybody is
    /// there: a node that is alone does not know who is gone. Those that no session ended well
    /// with give way first, then those that have been gone for longest.
    pub(super) fn note(&mut self, members: Vec<KnownMember>, revision: u64, now: Duration) {
        let (_, before) = std::mem::replace(&mut self.noted, (revision, now));
        let passed = now.saturating_sub(before).min(NOTED_PERIOD);
        if members.iter().any(|member| member.away.is_zero()) {
            for known in self.known.values_mut() {
                known.away += passed;
            }
        }
        for member in members {
            // Who was there before is not any more.
            self.known.retain(|_, known| known.address != member.address);
            self.known.insert(member.node, member);
        }
        self.known.retain(|_, known| known.away < REMEMBERED_TIME_MAX);
        let over = self.known.len().saturating_sub(MEMBERS_MAX);
        let mut order: Vec<_> =
            self.known.values().map(|known| (known.met, Reverse(known.away), known.node)).collect();
        order.sort_unstable();
        for (_, _, node) in order.into_iter().take(over) {
            self.known.remove(&node);
        }
    }

    /// Replaces the file.
    pub(super) fn save(&self, disk: &dyn Disk) -> io::Result<()> {
        FILE.save(disk, &self.stored())
    }

    fn stored(&self) -> Vec<Stored> {
        self.known.values().map(Stored::from).collect()
    }
}

/// Members by their ids; `None` if one is impossible, or there are too many.
fn members(stored: Vec<Stored>) -> Option<BTreeMap<NodeId, KnownMember>> {
    let members = stored.into_iter().map(|stored| stored.member().map(|known| (known.node, known)));
    let members: BTreeMap<_, _> = members.collect::<Option<_>>()?;
    (members.len() <= MEMBERS_MAX).then_some(members)
}

/// The bytes of a file, read and written again; `None` if they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    let known = members(FILE.decode(bytes)?)?;
    FILE.encode(&Members { known, noted: (0, Duration::ZERO) }.stored()).ok()
}

#[cfg(test)]
mod tests {
    use stemedb_wal::disk::MemoryDisk;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn member(number: u16, address: &str) -> KnownMember {
        let mut node = [0; 16];
        node[..2].copy_from_slice(&number.to_le_bytes());
        let (known, away) = (20 * SECOND, Duration::ZERO);
        let key = [number.to_le_bytes()[0]; 32];
        KnownMember { node, key, address: address.to_owned(), known, away, met: false }
    }

    #[test]
    fn members_are_remembered_for_a_week_in_company() {
        let disk = MemoryDisk::new();
        let mut members = Members::load(&disk, 900 * SECOND);
        assert!(members.known().is_empty() && !members.is_due(0, 905 * SECOND));
        members.note(vec![member(1, "a:1"), member(2, "b:1")], 3, 1_000 * SECOND);
        assert!(!members.is_due(3, 1_001 * SECOND));
        assert!(members.is_due(4, 1_001 * SECOND));
        assert!(members.is_due(3, 1_000 * SECOND + NOTED_PERIOD));
        members.save(&disk).unwrap();
        // Another run, in which nobody is there for weeks.
        let mut members = Members::load(&disk, SECOND);
        assert_eq!(members.known(), [member(1, "a:1"), member(2, "b:1")]);
        let mut now = SECOND;
        for _ in 0..1_000 {
            now += NOTED_PERIOD;
            members.note(Vec::new(), 0, now);
        }
        assert_eq!(members.known(), [member(1, "a:1"), member(2, "b:1")]);
        // Another node is where one of them was. The other one is forgotten after a week with it.
        let hours = u32::try_from(REMEMBERED_TIME_MAX.as_secs() / NOTED_PERIOD.as_secs()).unwrap();
        for hour in 1..=hours {
            // However long nothing was noted: it may not have run.
            now += 5 * NOTED_PERIOD;
            members.note(vec![member(3, "b:1")], 4, now);
            let gone = KnownMember { away: NOTED_PERIOD * hour, ..member(1, "a:1") };
            let expected = [gone, member(3, "b:1")];
            assert_eq!(members.known(), expected[usize::from(hour == hours)..], "{hour}");
        }
        members.save(&disk).unwrap();
        assert_eq!(Members::load(&disk, SECOND).known(), [member(3, "b:1")]);
    }

    #[test]
    fn no_more_are_kept_than_a_cluster_may_have() {
        let mut members = Members { known: BTreeMap::new(), noted: (0, SECOND) };
        let count = u16::try_from(MEMBERS_MAX).unwrap() + 5;
        members.note(vec![KnownMember { met: true, ..member(0, "a:0") }], 1, SECOND);
        for number in 1..count {
            let now = SECOND * u32::from(number);
            members.note(vec![member(number, &format!("a:{number}"))], 1, now);
        }
        let known: Vec<_> = members.known().into_iter().map(|known| known.node).collect();
        assert_eq!(known.len(), MEMBERS_MAX);
        let is_kept = |number| known.contains(&member(number, "").node);
        assert!(is_kept(0), "it was met");
        assert!(!is_kept(5) && is_kept(6));
    }

    #[test]
    fn who_can_t_be_is_not_read() {
        let stored = || Stored::from(&member(1, "a:1"));
        assert_eq!(stored().member(), Some(member(1, "a:1")));
        for address in ["", "a b:1", "\u{e9}:1", &"x".repeat(ADDRESS_LEN_MAX + 1)] {
            assert_eq!(Stored { address: address.to_owned(), ..stored() }.member(), None);
        }
        assert_eq!(Stored { known: SECONDS_MAX + 1, ..stored() }.member(), None);
        assert_eq!(Stored { away: u64::MAX, ..stored() }.member(), None);
        let many = |count| (0..count).map(|number| Stored::from(&member(number, "a:1"))).collect();
        let max = u16::try_from(MEMBERS_MAX).unwrap();
        assert!(members(many(max)).is_some() && members(many(max + 1)).is_none());
    }

    /// The format on disk. If this fails the format has changed: raise the version.
    #[test]
    fn golden_bytes() {
        let bytes = FILE.encode(&vec![Stored::from(&member(1, "a:1"))]).unwrap();
        assert_eq!(bytes.len(), 16 + (16 + 32 + 8 + 8 + 8 + 16) + 16);
        assert_eq!(bytes[..12], *b"STEMEMEM\x03\0\0\0");
        assert_eq!(bytes[16..19], [1, 0, 0]);
        assert_eq!(bytes[64..72], 20_u64.to_le_bytes());
        assert_eq!(bytes[88..91], *b"a:1");
    }

    #[test]
    fn the_largest_list_has_room() {
        let address = "x".repeat(ADDRESS_LEN_MAX);
        let many = (0..u16::try_from(MEMBERS_MAX).unwrap()).map(|number| member(number, &address));
        let many: Vec<_> = many.map(|member| Stored::from(&member)).collect();
        let bytes = FILE.encode(&many).unwrap();
        assert_eq!(rewrite(&bytes).unwrap().len(), bytes.len());
    }

    #[test]
    fn a_damaged_or_older_file_is_none_and_is_written_again() {
        let disk = MemoryDisk::new();
        let mut members = Members::load(&disk, SECOND);
        members.note(vec![member(1, "a:1")], 1, 7 * SECOND);
        for place in [20, 8] {
            members.save(&disk).unwrap();
            disk.open(FILE.name).unwrap().write_at(&[1], place).unwrap();
            assert_eq!(Members::load(&disk, SECOND).known(), [], "{place}");
        }
        SmallFile { version: 1, ..FILE }.save(&disk, &members.stored()).unwrap();
        assert_eq!(Members::load(&disk, SECOND).known(), []);
        members.save(&disk).unwrap();
        assert_eq!(Members::load(&disk, SECOND).known(), members.known());
    }
}
