//! Members that this node has met: the file `MEMBERS`.
//!
//! A small file of the store whose content is members:
//!
//! ```text
//! node id 16, key 32, how long it was there u64 and has been gone since u64, in seconds,
//! whether a session with it ever ended well u8, length of the address u8, address
//! ```
//!
//! With it members find each other after all of them were down, also where the one that they joined
//! by is gone for good, and know each other's keys. Without it they join as the first time.
//!
//! No clock is in it: one that is wrong, or a node that was off for weeks, makes nobody forgotten.

use std::{cmp::Reverse, collections::BTreeMap, io, time::Duration};

use stemedb_sync::{
    cluster::{ADDRESS_LEN_MAX, KnownMember, MEMBERS_MAX, REMEMBERED_TIME_MAX},
    message::NodeId,
};
use stemedb_wal::disk::Disk;
use tracing::warn;

use stemedb_store::{
    InternalError,
    small_file::{SmallFile, take},
};

const FILE: SmallFile = SmallFile {
    name: "MEMBERS",
    temp_name: "MEMBERS.tmp",
    magic: *b"STEMEMEM",
    version: 2,
    content_len_max: MEMBERS_MAX * (66 + ADDRESS_LEN_MAX),
    private: false,
};

/// Time after which it is noted again that a member is still there.
const NOTED_PERIOD: Duration = Duration::from_secs(60 * 60);

/// The longest time that is read, in seconds: some hundred years.
const SECONDS_MAX: u64 = u32::MAX as u64;

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
        let known = FILE.load(disk, parse).unwrap_or_else(|error| {
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
        FILE.save(disk, &content(&self.known).map_err(io::Error::other)?)
    }
}

fn content(members: &BTreeMap<NodeId, KnownMember>) -> Result<Vec<u8>, InternalError> {
    let mut rest = Vec::new();
    for member in members.values() {
        // Frames of gossip have no room for longer addresses either.
        let len = u8::try_from(member.address.len());
        let len = len.map_err(|_| InternalError::new("room for an address"))?;
        rest.extend(member.node);
        rest.extend(member.key);
        rest.extend(member.known.as_secs().to_le_bytes());
        rest.extend(member.away.as_secs().to_le_bytes());
        rest.push(member.met.into());
        rest.push(len);
        rest.extend(member.address.as_bytes());
    }
    Ok(rest)
}

/// Total: any bytes may come.
fn parse(mut rest: &[u8]) -> Option<BTreeMap<NodeId, KnownMember>> {
    let mut members = BTreeMap::new();
    while !rest.is_empty() {
        let (node, key) = (take(&mut rest)?, take(&mut rest)?);
        let known = seconds(&mut rest)?;
        let away = seconds(&mut rest)?;
        let met = match take(&mut rest)? {
            [0] => false,
            [1] => true,
            [_] => return None,
        };
        let [len] = take(&mut rest)?;
        let (address, after) = rest.split_at_checked(len.into())?;
        rest = after;
        let shown = !address.is_empty() && address.iter().all(u8::is_ascii_graphic);
        let address = String::from_utf8(address.to_vec()).ok().filter(|_| shown)?;
        members.insert(node, KnownMember { node, key, address, known, away, met });
    }
    (members.len() <= MEMBERS_MAX).then_some(members)
}

/// A time of a length that can be added to.
fn seconds(rest: &mut &[u8]) -> Option<Duration> {
    let seconds = u64::from_le_bytes(take(rest)?);
    (seconds <= SECONDS_MAX).then(|| Duration::from_secs(seconds))
}

/// The bytes of a file, read and written again; `None` if they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(FILE.encode(&content(&parse(FILE.decode(bytes)?)?).ok()?))
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
    fn a_content_that_is_cut_is_none() {
        let mut members = Members { known: BTreeMap::new(), noted: (0, SECOND) };
        members.note(vec![member(1, "a:1"), member(2, "b:1")], 1, 7 * SECOND);
        let bytes = content(&members.known).unwrap();
        assert_eq!(parse(&bytes).as_ref(), Some(&members.known));
        let one = bytes.len() / 2;
        for len in 1..bytes.len() {
            assert_eq!(parse(&bytes[..len]).is_some(), len == one, "cut to {len}");
        }
        let at_known = 48;
        let mut bytes = bytes;
        bytes[at_known + 7] = 255;
        assert_eq!(parse(&bytes), None, "longer than anything lasts");
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
        SmallFile { version: 1, ..FILE }.save(&disk, &content(&members.known).unwrap()).unwrap();
        assert_eq!(Members::load(&disk, SECOND).known(), []);
        members.save(&disk).unwrap();
        assert_eq!(Members::load(&disk, SECOND).known(), members.known());
    }
}
