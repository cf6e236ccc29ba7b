//! Small file that is replaced as a whole: `PEERS`, `MEMBERS`, `SCRUB`, `NODEKEY`.
//!
//! ```text
//!  byte 0          8              12         16
//!       +----------+--------------+----------+---------
//!       | magic    | version u32  | CRC-32   | content
//!       +----------+--------------+----------+---------
//! ```
//!
//! The content is a value archived by `rkyv`. Integers are little-endian; the CRC covers all bytes
//! but its own.

use std::io;

use rkyv::{
    Archive, Deserialize, Serialize,
    api::high::{HighDeserializer, HighSerializer, HighValidator},
    bytecheck::CheckBytes,
    rancor::{Error, fail},
    ser::allocator::ArenaHandle,
    util::AlignedVec,
};
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

/// A value that can be the content: whatever derives the three traits of `rkyv`.
pub trait Content:
    Sized
    + Archive<
        Archived: for<'a> CheckBytes<HighValidator<'a, Error>>
                      + Deserialize<Self, HighDeserializer<Error>>,
    > + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>
{
}

impl<T> Content for T
where
    T: Archive + for<'a> Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>,
    T::Archived:
        for<'a> CheckBytes<HighValidator<'a, Error>> + Deserialize<T, HighDeserializer<Error>>,
{
}

impl SmallFile {
    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    ///
    /// See [`SmallFileError`].
    pub fn load<T: Content>(&self, disk: &dyn Disk) -> Result<Option<T>, SmallFileError> {
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
        self.decode(&bytes).map(Some).ok_or(SmallFileError::Damaged)
    }

    /// Replaces the file.
    ///
    /// # Errors
    ///
    /// If the disk fails: the file is then the old one or the new one, whole.
    pub fn save<T: Content>(&self, disk: &dyn Disk, content: &T) -> io::Result<()> {
        let bytes = self.encode(content).map_err(io::Error::other)?;
        let file = if self.private {
            // One that is left of a start that was cut short may have other rights.
            match disk.remove(self.temp_name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => disk.create_private(self.temp_name)?,
            }
        } else {
            disk.create(self.temp_name)?
        };
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(self.temp_name, self.name)?;
        disk.sync_dir()
    }

    /// The bytes of a file with this content.
    ///
    /// # Errors
    ///
    /// If the content is longer than it may be.
    pub fn encode<T: Content>(&self, content: &T) -> Result<Vec<u8>, Error> {
        let content = rkyv::to_bytes::<Error>(content)?;
        if content.len() > self.content_len_max {
            let len = content.len();
            fail!(ContentTooLong { name: self.name, len, max: self.content_len_max });
        }
        let front = [self.magic.as_slice(), &self.version.to_le_bytes()].concat();
        let crc = crc_of(&front, &content).to_le_bytes();
        Ok([&front, crc.as_slice(), &content].concat())
    }

    /// The content of a file with these bytes. Total: any bytes may come.
    pub fn decode<T: Content>(&self, bytes: &[u8]) -> Option<T> {
        let (front, rest) = bytes.split_first_chunk::<12>()?;
        let (crc, content) = rest.split_first_chunk::<4>()?;
        let expected = [self.magic.as_slice(), &self.version.to_le_bytes()].concat();
        let whole = *front == *expected && u32::from_le_bytes(*crc) == crc_of(front, content);
        if !whole || content.len() > self.content_len_max {
            return None;
        }
        // Archived values are aligned.
        let mut aligned = AlignedVec::<16>::with_capacity(content.len());
        aligned.extend_from_slice(content);
        rkyv::from_bytes::<T, Error>(&aligned).ok()
    }

    /// The bytes of a file, read and written again; `None` if they are not one.
    pub fn rewrite<T: Content>(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.encode(&self.decode::<T>(bytes)?).ok()
    }
}

/// More content than such a file may have.
#[derive(Debug, thiserror::Error)]
#[error("{name} would have {len} bytes, more than {max}")]
struct ContentTooLong {
    name: &'static str,
    len: usize,
    max: usize,
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

    fn load(disk: &MemoryDisk) -> Result<Option<String>, SmallFileError> {
        FILE.load(disk)
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
        for content in ["", "some content"].map(String::from) {
            FILE.save(&disk, &content).unwrap();
            assert_eq!(load(&disk).unwrap().as_ref(), Some(&content));
            let bytes = FILE.encode(&content).unwrap();
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
    fn a_file_that_is_too_long_is_neither_read_nor_written() {
        let wide = SmallFile { content_len_max: 1000, ..FILE };
        let text = |len| "x".repeat(len);
        // A longer string has 16 bytes besides its own.
        let disk = MemoryDisk::new();
        put(&disk, &wide.encode(&text(16)).unwrap());
        assert_eq!(load(&disk).unwrap(), Some(text(16)));
        for len in [17, 900] {
            FILE.encode(&text(len)).unwrap_err();
            put(&disk, &wide.encode(&text(len)).unwrap());
            assert!(matches!(load(&disk), Err(SmallFileError::Damaged)), "{len}");
        }
        put(&disk, &vec![1; 100_000]);
        assert!(matches!(load(&disk), Err(SmallFileError::Damaged)));
    }

    #[test]
    fn a_content_that_is_none_is_damage() {
        let disk = MemoryDisk::new();
        // Right by its checksum, and no UTF-8.
        put(&disk, &FILE.encode(&[0xff_u8; 8]).unwrap());
        assert!(matches!(load(&disk), Err(SmallFileError::Damaged)));
        put(&disk, &FILE.encode(&()).unwrap());
        assert!(matches!(load(&disk), Err(SmallFileError::Damaged)));
    }
}
