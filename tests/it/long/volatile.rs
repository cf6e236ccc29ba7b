//! A disk with a volatile cache: what was not flushed when the power is cut may be lost, in any
//! part.
//!
//! It is one file, served over FUSE, on which a loop device lies. The kernel turns a flush of the
//! loop device into an fsync of the file, so that this process sees each write and each flush that
//! a real disk would see, and decides what a cut leaves: all that was flushed, and any part of what
//! was written since, sector by sector.

use std::{
    fs::File,
    io::{self, ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use crate::reference::random::Random;

/// A write is whole or not in units of this: what present disks promise. File systems count on it
/// (an ext4 whose superblock is half of one write and half of another does not mount).
const SECTOR_LEN: usize = 4096;
/// What is known to hold nothing but zeros is known in units of this.
const CHUNK_LEN: usize = 64 << 10;
/// The longest write that the kernel sends.
const WRITE_LEN_MAX: usize = 1 << 20;

/// Numbers of calls in the FUSE protocol, of those that a single file can get.
mod opcode {
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const SETATTR: u32 = 4;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const WRITE: u32 = 16;
    pub(super) const STATFS: u32 = 17;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const FSYNC: u32 = 20;
    pub(super) const FLUSH: u32 = 25;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const DESTROY: u32 = 38;
    pub(super) const BATCH_FORGET: u32 = 42;
}

const ENOSYS: i32 = 38;
const EPERM: i32 = 1;
const EINVAL: i32 = 22;

/// What a power cut leaves of the writes that were not flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Survival {
    Nothing,
    Everything,
    /// The first ones, in the order in which they came.
    First,
    /// Any of them.
    SomeWrites,
    /// Any sectors of them.
    SomeSectors,
}

impl Survival {
    pub(crate) const ALL: [Self; 5] =
        [Self::Nothing, Self::Everything, Self::First, Self::SomeWrites, Self::SomeSectors];
}

/// What was written and flushed.
#[derive(Debug)]
struct Contents {
    /// What is read.
    current: Vec<u8>,
    /// What a power cut leaves for sure.
    durable: Vec<u8>,
    /// Which chunks were ever written.
    touched: Vec<bool>,
    /// What was written since the last flush, in order.
    pending: Vec<(usize, Vec<u8>)>,
    flushes: u64,
}

impl Contents {
    fn write(&mut self, at: usize, bytes: &[u8]) -> bool {
        let Some(place) = self.current.get_mut(at..at + bytes.len()) else { return false };
        place.copy_from_slice(bytes);
        self.touched[at / CHUNK_LEN..(at + bytes.len()).div_ceil(CHUNK_LEN)].fill(true);
        self.pending.push((at, bytes.to_vec()));
        true
    }

    fn flush(&mut self) {
        self.flushes += 1;
        for (at, bytes) in std::mem::take(&mut self.pending) {
            self.durable[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
}

/// The disk, which is there until this is dropped. Nothing may be mounted from it by then.
pub(crate) struct VolatileDisk {
    path: PathBuf,
    contents: Arc<Mutex<Contents>>,
    server: Option<JoinHandle<()>>,
}

fn lock(contents: &Mutex<Contents>) -> MutexGuard<'_, Contents> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VolatileDisk {
    /// A disk at `path` that holds what the file there holds.
    pub(crate) fn over(path: &Path) -> Self {
        let image = std::fs::read(path).unwrap();
        let touched = image.chunks(CHUNK_LEN).map(|chunk| chunk.iter().any(|byte| *byte != 0));
        let contents = Arc::new(Mutex::new(Contents {
            touched: touched.collect(),
            durable: image.clone(),
            current: image,
            pending: Vec::new(),
            flushes: 0,
        }));
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let mut mount = Command::new("mount")
            .args(["-i", "-t", "fuse", "-o", "fd=0,rootmode=100000,user_id=0,group_id=0"])
            .arg("stemedb-long")
            .arg(path)
            .stdin(Stdio::from(device.try_clone().unwrap()))
            .spawn()
            .unwrap();
        let shared = Arc::clone(&contents);
        let server = std::thread::spawn(move || serve(&device, &shared));
        assert!(mount.wait().unwrap().success(), "no FUSE here");
        Self { path: path.to_owned(), contents, server: Some(server) }
    }

    /// How many flushes it has seen.
    pub(crate) fn flushes(&self) -> u64 {
        lock(&self.contents).flushes
    }

    /// Writes to `path` what a power cut at this moment leaves.
    pub(crate) fn cut(&self, survival: Survival, random: &mut Random, path: &Path) {
        let contents = lock(&self.contents);
        let mut file = File::create(path).unwrap();
        file.set_len(contents.durable.len() as u64).unwrap();
        for (number, chunk) in contents.durable.chunks(CHUNK_LEN).enumerate() {
            if contents.touched[number] {
                file.seek(SeekFrom::Start((number * CHUNK_LEN) as u64)).unwrap();
                file.write_all(chunk).unwrap();
            }
        }
        let first = random.index(contents.pending.len() + 1);
        for (number, (at, bytes)) in contents.pending.iter().enumerate() {
            let whole = match survival {
                Survival::Nothing => false,
                Survival::Everything => true,
                Survival::First => number < first,
                Survival::SomeWrites => random.one_in(2),
                Survival::SomeSectors => {
                    for (sector, bytes) in bytes.chunks(SECTOR_LEN).enumerate() {
                        if random.one_in(2) {
                            put(&mut file, at + sector * SECTOR_LEN, bytes);
                        }
                    }
                    false
                }
            };
            if whole {
                put(&mut file, *at, bytes);
            }
        }
    }
}

fn put(file: &mut File, at: usize, bytes: &[u8]) {
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(bytes).unwrap();
}

impl Drop for VolatileDisk {
    fn drop(&mut self) {
        // Lazily, so that it goes whatever has it open; the server ends with it.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
        if let Some(server) = self.server.take()
            && !std::thread::panicking()
        {
            server.join().unwrap();
        }
    }
}

/// A number of the protocol, which has those of the machine.
fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes.get(at..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; N])
}

/// Answers the kernel until the file is unmounted.
fn serve(mut device: &File, contents: &Mutex<Contents>) {
    let mut request = vec![0; WRITE_LEN_MAX + (64 << 10)];
    loop {
        let len = match device.read(&mut request) {
            Ok(len) => len,
            // It is not mounted yet.
            Err(error) if error.raw_os_error() == Some(EPERM) => {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(error) if [ErrorKind::Interrupted, ErrorKind::NotFound].contains(&error.kind()) => {
                continue;
            }
            Err(_) => return,
        };
        let request = &request[..len];
        let opcode = u32::from_le_bytes(number(request, 4));
        if [opcode::FORGET, opcode::BATCH_FORGET, opcode::INTERRUPT].contains(&opcode) {
            continue;
        }
        let (error, payload) = match answer(opcode, &request[40..], &mut lock(contents)) {
            Ok(payload) => (0, payload),
            Err(errno) => (-errno, Vec::new()),
        };
        let len = u32::try_from(16 + payload.len()).unwrap();
        let unique: [u8; 8] = number(request, 8);
        let reply = [&len.to_le_bytes()[..], &error.to_le_bytes(), &unique, &payload].concat();
        if write_whole(device, &reply).is_err() || opcode == opcode::DESTROY {
            return;
        }
    }
}

/// A reply is one write. That a request was interrupted meanwhile is no failure.
fn write_whole(mut device: &File, reply: &[u8]) -> io::Result<()> {
    match device.write(reply) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn answer(opcode: u32, body: &[u8], contents: &mut Contents) -> Result<Vec<u8>, i32> {
    let len = contents.current.len() as u64;
    match opcode {
        opcode::INIT => {
            // Version 7.31; no flag but big writes (5) and the number of pages (22).
            let flags: u32 = (1 << 5) | (1 << 22);
            let front = [7, 31, 1 << 20, flags].map(u32::to_le_bytes).concat();
            let background = [16_u16, 12].map(u16::to_le_bytes).concat();
            let limits = [u32::try_from(WRITE_LEN_MAX).unwrap(), 1].map(u32::to_le_bytes).concat();
            let pages = u16::try_from(WRITE_LEN_MAX / 4096).unwrap().to_le_bytes();
            Ok([&front[..], &background, &limits, &pages, &[0; 34]].concat())
        }
        opcode::GETATTR | opcode::SETATTR => {
            let valid = [&3600_u64.to_le_bytes()[..], &[0; 8]].concat();
            let numbers = [1, len, len / 512, 0, 0, 0].map(u64::to_le_bytes).concat();
            // Three times nanoseconds, mode, links, user, group, device, block size, flags.
            let rest = [0, 0, 0, 0o100_600, 1, 0, 0, 0, 4096, 0].map(u32::to_le_bytes).concat();
            Ok([valid, numbers, rest].concat())
        }
        opcode::OPEN => Ok(vec![0; 16]),
        opcode::READ => {
            let at = usize::try_from(u64::from_le_bytes(number(body, 8))).map_err(|_| EINVAL)?;
            let len = u32::from_le_bytes(number(body, 16)) as usize;
            let end = (at + len).min(contents.current.len());
            Ok(contents.current.get(at..end).unwrap_or(&[]).to_vec())
        }
        opcode::WRITE => {
            let at = usize::try_from(u64::from_le_bytes(number(body, 8))).map_err(|_| EINVAL)?;
            let size: [u8; 4] = number(body, 16);
            let len = u32::from_le_bytes(size) as usize;
            let bytes = body.get(40..40 + len).ok_or(EINVAL)?;
            if !contents.write(at, bytes) {
                return Err(EINVAL);
            }
            Ok([&size[..], &[0; 4]].concat())
        }
        opcode::FSYNC => {
            contents.flush();
            Ok(Vec::new())
        }
        opcode::STATFS => {
            let blocks = [len / 4096, 0, 0, 1, 0].map(u64::to_le_bytes).concat();
            let rest = [4096, 255, 4096, 0, 0, 0, 0, 0, 0, 0].map(u32::to_le_bytes).concat();
            Ok([blocks, rest].concat())
        }
        opcode::FLUSH | opcode::RELEASE | opcode::DESTROY => Ok(Vec::new()),
        _ => Err(ENOSYS),
    }
}
