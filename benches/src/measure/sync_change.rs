//! One vector in a hundred has changed: what has to be sent.

use stemedb::SyncOptions;
use stemedb::rpc::client::Watched;

use crate::Failure;
use crate::body;
use crate::contest::{Bar, Contest, Role, Sample};
use crate::ours::served::{self, Served};
use crate::proxy::Proxy;
use crate::setting::Setting;

/// Bytes of a vector: 1,024 numbers of 32 bits.
const LEN: usize = 4096;

pub(crate) fn prepare(setting: &Setting) -> Result<Contest, Failure> {
    let vectors = setting.vectors();
    let mut contest = Contest::new(1);
    for (name, role, how) in [
        ("stemedb", Role::Ours, How::Differences),
        ("stemedb, cursor known", Role::Ours, How::Cursor),
        ("a full copy, into an empty store", Role::Limit, How::Copy),
        ("the whole log, replayed", Role::Limit, How::Replay),
        ("256 digests by xor, unequal ones sent", Role::Limit, How::Digests),
    ] {
        let dir = setting.clone();
        contest.add(name, role, move || sent(&dir, vectors, how));
    }
    for name in ["stemedb", "stemedb, cursor known"] {
        let asked = "within 2 % of the changed bodies";
        contest.goal(asked, name, "times the changed bodies", Bar::AtMost(1.02));
    }
    contest.note(format!(
        "{vectors} vectors of 4 KB on either side, of which one in a hundred then got a new body \
         on one of them. Bytes are all that passed the socket, both ways, HTTP/2 included; for the \
         digests, which no gRPC service has, they are counted: 256 times 8 bytes each way and the \
         bodies in all buckets, by the first byte of the id, whose xor of ids differs, as \
         HyperspaceDB does it."
    ));
    Ok(contest)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Differences,
    Cursor,
    Copy,
    Replay,
    Digests,
}

fn sent(setting: &Setting, vectors: u64, how: How) -> Result<Sample, Failure> {
    let changed = vectors / 100;
    if how == How::Digests {
        return Ok(sample(digests(vectors, changed), changed, None));
    }
    let dir = setting.fresh("change")?;
    let (near, far) = (served::open(&dir.join("near"))?, served::open(&dir.join("far"))?);
    served::fill(&far, 0..vectors, LEN)?;
    if matches!(how, How::Differences | How::Cursor) {
        served::fill(&near, 0..vectors, LEN)?;
    }
    let served = Served::new(far)?;
    let proxy = Proxy::new(served.address, std::time::Duration::ZERO)?;
    let runtime = served::runtime()?;
    let client = served::connect(&runtime, proxy.address())?;
    if how == How::Cursor {
        // They meet once, while they are equal.
        served::sync(&runtime, &near, &client, SyncOptions::default())?;
    }
    served::fill(&served.store, (1 << 50)..(1 << 50) + changed, LEN)?;
    let before = proxy.bytes();
    let started = std::time::Instant::now();
    let bodies = if how == How::Replay {
        runtime.block_on(async {
            let wanted = Watched { bodies: true, stop_at_end: true, ..Watched::default() };
            let mut watch = client.watch(wanted);
            let mut bodies = 0;
            while let Some(entry) = watch.next().await {
                let (_, body) = entry?;
                bodies += u64::from(body.is_some());
            }
            Ok::<_, Failure>(bodies)
        })?
    } else {
        served::sync(&runtime, &near, &client, SyncOptions::default())?.fetched
    };
    let took = started.elapsed().as_secs_f64();
    let expected = match how {
        How::Differences | How::Cursor => changed,
        _ => vectors + changed,
    };
    if bodies != expected {
        return Err(format!("{bodies} bodies came in place of {expected}").into());
    }
    let bytes = proxy.bytes() - before;
    drop((client, runtime, near));
    served.stop()?;
    Ok(sample(bytes, changed, Some(took)))
}

fn sample(bytes: u64, changed: u64, seconds: Option<f64>) -> Sample {
    let mut sample = vec![
        ("MB both ways", bytes as f64 / 1e6),
        ("times the changed bodies", bytes as f64 / (changed * LEN as u64) as f64),
    ];
    sample.extend(seconds.map(|seconds| ("s", seconds)));
    sample
}

/// What is sent where ids are told apart by 256 digests.
fn digests(vectors: u64, changed: u64) -> u64 {
    let mut digests = [[0_u64; 2]; 256];
    let mut counts = [0_u64; 256];
    let mut bytes = vec![0; LEN];
    for number in (0..vectors).chain((1 << 50)..(1 << 50) + changed) {
        body::fill(number, &mut bytes);
        let id: [u8; 32] = blake3::hash(&bytes).into();
        let bucket = usize::from(id[0]);
        let word = id.last_chunk().map_or(0, |word| u64::from_le_bytes(*word));
        digests[bucket][0] ^= word;
        if number < vectors {
            digests[bucket][1] ^= word;
        }
        counts[bucket] += 1;
    }
    let differ = digests.iter().zip(counts).filter(|(digest, _)| digest[0] != digest[1]);
    2 * 256 * 8 + differ.map(|(_, count)| count * LEN as u64).sum::<u64>()
}
