//! Small file that is replaced as a whole: `PEERS`, `MEMBERS`, `SCRUB`, `NODEKEY`.
//!
//! ```text
//!  byte 0          8              12         16
//!       +----------+--------------+----------+---------
//!       | magic    | version u32  | CRC-32   | content
//!       +----------+--------------+----------+---------
//! ```
//!
//! Integers are little-endian; the CRC covers all bytes but its own.

use std::io;

use stemedb_wal::disk::Disk;

/// Bytes before the content.
const HEADER_LEN: usize = 16;

/// One kind of such a file.
#[derive(Clone, Copy, Debug)]
pub struct SmallFile {
    /// Name of the file.
    pub name: &'static str,
    /// Where its successor is written.
    pub temp_name: &'static str,
    /// First bytes of the file.
    pub magic: [u8; 8],
    /// Version that is written and read.
    pub version: u32,
    /// Length of the longest content, in bytes.
    pub content_len_max: usize,
    /// Whether the owner alone may read it.
    pub private: bool,
}

/// Why there is no content.
#[derive(Debug, thiserror::Error)]
pub enum SmallFileError {
    /// The file can't be read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It is damaged, or of another version.
    #[error("the file is damaged or of another version")]
    Damaged,
}

impl SmallFile {
    /// The content of the file, parsed by `parse`; `None` if there is no such file.
    ///
    /// # Errors
    ///
    /// See [`SmallFileError`].
    pub fn load<T>(
        &self,
        disk: &dyn Disk,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, SmallFileError> {
        let file = match disk.open(self.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        // With one byte more than it may have it is noticed for what it is.
        let len_max = HEADER_LEN + self.content_len_max + 1;
        let len = usize::try_from(file.len()?).map_or(len_max, |len| len.min(len_max));
        let mut bytes = vec![0; len];
        let read = file.read_at(&mut bytes, 0)?;
        bytes.truncate(read);
        let content = self.decode(&bytes).and_then(parse);
        content.map(Some).ok_or(SmallFileError::Damaged)
    }

    /// Replaces the file.
    ///
    /// # Errors
    ///
    /// If the disk fails: the file is then the old one or the new one, whole.
    pub fn save(&self, disk: &dyn Disk, content: &[u8]) -> io::Result<()> {
        let file = if self.private {
            // One that is left of a start that was cut short may have other rights.
            match disk.remove(self.temp_name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => disk.create_private(self.temp_name)?,
            }
        } else {
            disk.create(self.temp_name)?
        };
        file.write_at(&self.encode(content), 0)?;
        file.sync()?;
        disk.rename(self.temp_name, self.name)?;
        disk.sync_dir()
    }

    /// The bytes of a file with this content.
    pub fn encode(&self, content: &[u8]) -> Vec<u8> {
        let front = [self.magic.as_slice(), &self.version.to_le_bytes()].concat();
        let crc = crc_of(&front, content).to_le_bytes();
        [&front, crc.as_slice(), content].concat()
    }

    /// The content of a file with these bytes. Total: any bytes may come.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let (front, rest) = bytes.split_first_chunk::<12>()?;
        let (crc, content) = rest.split_first_chunk::<4>()?;
        let expected = [self.magic.as_slice(), &self.version.to_le_bytes()].concat();
        let whole = *front == *expected && u32::from_le_bytes(*crc) == crc_of(front, content);
        (whole && content.len() <= self.content_len_max).then_some(content)
    }
}

/// The next `N` bytes of a content, which are taken off its front.
pub fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

fn crc_of(front: &[u8], content: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(front);
    hasher.update(content);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use stemedb_wal::disk::MemoryDisk;

    use super::*;

    const FILE: SmallFile = SmallFile {
        name: "PEERS",
        temp_name: "PEERS.tmp",
        magic: *b"STEMETST",
        version: 7,
        content_len_max: 20,
        private: false,
    };

    fn load(disk: &MemoryDisk) -> Result<Option<Vec<u8>>, SmallFileError> {
        FILE.load(disk, |content| Some(content.to_vec()))
    }

    fn put(disk: &MemoryDisk, bytes: &[u8]) {
        let file = disk.create(FILE.name).unwrap();
        file.set_len(0).unwrap();
        file.write_at(bytes, 0).unwrap();
    }

    #[test]
    fn what_is_saved_is_loaded_and_no_damage_passes() {
        let disk = MemoryDisk::new();
        assert_eq!(load(&disk).unwrap(), None);
        for content in [&b""[..], b"some content"] {
            FILE.save(&disk, content).unwrap();
            assert_eq!(load(&disk).unwrap().as_deref(), Some(content));
            let bytes = FILE.encode(content);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                put(&disk, &flipped);
                assert!(matches!(load(&disk), Err(SmallFileError::Damaged)), "bit {bit}");
            }
            for len in 0..bytes.len() {
                put(&disk, &bytes[..len]);
                assert!(matches!(load(&disk), Err(SmallFileError::Damaged)), "cut to {len}");
            }
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_not_read() {
        let disk = MemoryDisk::new();
        put(&disk, &FILE.encode(&[1; 20]));
        assert_eq!(load(&disk).unwrap(), Some(vec![1; 20]));
        put(&disk, &FILE.encode(&[1; 21]));
        assert!(matches!(load(&disk), Err(SmallFileError::Damaged)));
        put(&disk, &FILE.encode(&[1; 1000]));
        assert!(matches!(load(&disk), Err(SmallFileError::Damaged)));
    }
}
