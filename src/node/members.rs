//! Members that this node has met: the file `MEMBERS`.
//!
//! A small file of the store whose content is members:
//!
//! ```text
//! node id 16, key 32, last met u64 in seconds since 1970, length of the address u8, address
//! ```
//!
//! With it members find each other after all of them were down, also where the one that they joined
//! by is gone for good, and know each other's keys. Without it they join as the first time.

use std::{collections::BTreeMap, io};

use stemedb_sync::{
    cluster::{ADDRESS_LEN_MAX, KnownMember, MEMBERS_MAX},
    message::NodeId,
};
use stemedb_wal::disk::Disk;
use tracing::warn;

use crate::store::small_file::{SmallFile, SmallFileError, take};

const FILE: SmallFile = SmallFile {
    name: "MEMBERS",
    temp_name: "MEMBERS.tmp",
    magic: *b"STEMEMEM",
    version: 1,
    content_len_max: MEMBERS_MAX * (57 + ADDRESS_LEN_MAX),
    private: false,
};

/// A member that was not met for so long is forgotten, in seconds: 7 days.
const MET_TIME_MAX: u64 = 7 * 24 * 60 * 60;
/// That a member is still there is noted so often, in seconds.
const NOTED_PERIOD: u64 = 60 * 60;

/// The members that are remembered, with the time when each was last met, in seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Members {
    met: BTreeMap<NodeId, (KnownMember, u64)>,
    /// What [`note`](Self::note) was told last: the revision, and when.
    noted: Option<(u64, u64)>,
}

impl Members {
    /// Those that are remembered; none if the file is missing. One that can't be used is reported.
    pub(super) fn load(disk: &dyn Disk) -> Self {
        let met = match FILE.load(disk) {
            Ok(None) => return Self::default(),
            Ok(Some(content)) => parse(&content).ok_or(SmallFileError::Damaged),
            Err(error) => Err(error),
        };
        let met = met.unwrap_or_else(|error| {
            warn!(
                %error,
                path = %disk.path(FILE.name).display(),
                "the members of earlier are not known: this node joins as the first time"
            );
            BTreeMap::new()
        });
        Self { met, noted: None }
    }

    /// All of them.
    pub(super) fn known(&self) -> Vec<KnownMember> {
        self.met.values().map(|(member, _)| member.clone()).collect()
    }

    /// Whether something is to be noted by now.
    pub(super) fn is_due(&self, revision: u64, now: u64) -> bool {
        self.noted.is_none_or(|(noted, at)| {
            noted != revision || now.saturating_sub(at) >= NOTED_PERIOD || at > now
        })
    }

    /// Notes the members that there are. Those that were met longest ago give way.
    pub(super) fn note(&mut self, members: Vec<KnownMember>, revision: u64, now: u64) {
        self.noted = Some((revision, now));
        for member in members {
            // Whoever was there before is not any more.
            self.met.retain(|_, (known, _)| known.address != member.address);
            self.met.insert(member.node, (member, now));
        }
        self.met.retain(|_, (_, met)| now.saturating_sub(*met) < MET_TIME_MAX);
        while self.met.len() > MEMBERS_MAX {
            let oldest = self.met.iter().min_by_key(|(_, (_, met))| *met);
            let Some(oldest) = oldest.map(|(node, _)| *node) else { break };
            self.met.remove(&oldest);
        }
    }

    /// Replaces the file.
    pub(super) fn save(&self, disk: &dyn Disk) -> io::Result<()> {
        FILE.save(disk, &content(&self.met))
    }
}

fn content(met: &BTreeMap<NodeId, (KnownMember, u64)>) -> Vec<u8> {
    let mut rest = Vec::new();
    for (member, met) in met.values() {
        // Addresses are no longer than this allows.
        let Ok(len) = u8::try_from(member.address.len()) else { continue };
        rest.extend(member.node);
        rest.extend(member.key);
        rest.extend(met.to_le_bytes());
        rest.push(len);
        rest.extend(member.address.as_bytes());
    }
    rest
}

/// Total: any bytes may come.
fn parse(mut rest: &[u8]) -> Option<BTreeMap<NodeId, (KnownMember, u64)>> {
    let mut members = BTreeMap::new();
    while !rest.is_empty() {
        let (node, key) = (take(&mut rest)?, take(&mut rest)?);
        let met = u64::from_le_bytes(take(&mut rest)?);
        let [len] = take(&mut rest)?;
        let (address, after) = rest.split_at_checked(len.into())?;
        rest = after;
        let shown = !address.is_empty() && address.iter().all(u8::is_ascii_graphic);
        let address = String::from_utf8(address.to_vec()).ok().filter(|_| shown)?;
        members.insert(node, (KnownMember { node, key, address }, met));
    }
    (members.len() <= MEMBERS_MAX).then_some(members)
}

/// The bytes of a file, read and written again; `None` if they are not one.
pub fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    parse(FILE.decode(bytes)?).map(|members| FILE.encode(&content(&members)))
}

#[cfg(test)]
mod tests {
    use stemedb_wal::disk::MemoryDisk;

    use super::*;

    fn member(number: u16, address: &str) -> KnownMember {
        let mut node = [0; 16];
        node[..2].copy_from_slice(&number.to_le_bytes());
        KnownMember { node, key: [number.to_le_bytes()[0]; 32], address: address.to_owned() }
    }

    #[test]
    fn members_are_remembered_for_a_week() {
        let disk = MemoryDisk::new();
        let mut members = Members::load(&disk);
        assert!(members.known().is_empty() && members.is_due(0, 5));
        members.note(vec![member(1, "a:1"), member(2, "b:1")], 3, 1_000);
        assert!(!members.is_due(3, 1_001));
        assert!(members.is_due(4, 1_001) && members.is_due(3, 1_000 + NOTED_PERIOD));
        assert!(members.is_due(3, 10), "the clock went back");
        members.save(&disk).unwrap();
        let loaded = Members::load(&disk);
        assert_eq!(loaded.known(), [member(1, "a:1"), member(2, "b:1")]);
        // One is gone, and another node is where the other was.
        members.note(vec![member(3, "b:1")], 4, 1_000 + MET_TIME_MAX - 1);
        assert_eq!(members.known(), [member(1, "a:1"), member(3, "b:1")]);
        members.note(vec![member(3, "b:1")], 5, 1_000 + MET_TIME_MAX);
        assert_eq!(members.known(), [member(3, "b:1")]);
        members.save(&disk).unwrap();
        assert_eq!(Members::load(&disk).known(), [member(3, "b:1")]);
    }

    #[test]
    fn no_more_are_kept_than_a_cluster_may_have() {
        let mut members = Members::default();
        let count = u16::try_from(MEMBERS_MAX).unwrap() + 5;
        for number in 0..count {
            members.note(vec![member(number, &format!("a:{number}"))], 1, number.into());
        }
        let known = members.known();
        assert_eq!(known.len(), MEMBERS_MAX);
        assert!(!known.contains(&member(4, "a:4")) && known.contains(&member(5, "a:5")));
    }

    #[test]
    fn a_content_that_is_cut_is_none() {
        let mut members = Members::default();
        members.note(vec![member(1, "a:1"), member(2, "b:1")], 1, 7);
        let bytes = content(&members.met);
        assert_eq!(parse(&bytes).as_ref(), Some(&members.met));
        let one = bytes.len() / 2;
        for len in 1..bytes.len() {
            assert_eq!(parse(&bytes[..len]).is_some(), len == one, "cut to {len}");
        }
    }

    #[test]
    fn a_damaged_file_is_none_and_is_written_again() {
        let disk = MemoryDisk::new();
        let mut members = Members::default();
        members.note(vec![member(1, "a:1")], 1, 7);
        members.save(&disk).unwrap();
        disk.open(FILE.name).unwrap().write_at(b"x", 20).unwrap();
        assert_eq!(Members::load(&disk), Members::default());
        members.save(&disk).unwrap();
        assert_eq!(Members::load(&disk).known(), members.known());
    }
}
