//! First corpora of what only stores and archives read, of gossip, HTTP and configurations.

use std::time::Duration;

use rkyv::{
    api::high::HighSerializer, rancor::Error, ser::allocator::ArenaHandle, util::AlignedVec,
};
use stemedb::{fuzzing, node::config::Config};
use stemedb_sync::cluster::Output;

use super::{
    corpora::write,
    random::noise,
    targets::{gossip, store_files::file_sources},
};

/// A file with the checksum of all its other bytes at offset 12.
fn with_sum(front: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut sum = crc32fast::Hasher::new();
    sum.update(front);
    sum.update(rest);
    [front, &sum.finalize().to_le_bytes(), rest].concat()
}

pub(crate) fn write_all() {
    write_caches();
    write_manifests();
    write_configs();
    write_requests();
    write_gossip();
}

/// The same as of the structures with these fields.
fn archived<T>(list: &Vec<T>) -> Vec<u8>
where
    Vec<T>: for<'a> rkyv::Serialize<HighSerializer<AlignedVec, ArenaHandle<'a>, Error>>,
{
    rkyv::to_bytes::<Error>(list).unwrap().to_vec()
}

fn write_caches() {
    for count in [0_u8, 1, 3] {
        let address = |n| format!("node-{n}.example:7845");
        let peer = |n: u8| (address(n), [n; 16], 1_u64, u64::from(n), [!n; 32]);
        let peers = archived(&(0..count).map(peer).collect::<Vec<_>>());
        let bytes = with_sum(b"STEMEPRS\x02\0\0\0", &peers);
        assert!(fuzzing::peers(&bytes).is_some());
        write("peers", &count.to_string(), &bytes);
        let member = |n| ([n; 16], [n; 32], 86_400_u64, 3_600_u64, n % 2 == 1, address(n));
        let members = archived(&(0..count).map(member).collect::<Vec<_>>());
        let bytes = with_sum(b"STEMEMEM\x03\0\0\0", &members);
        assert!(fuzzing::members(&bytes).is_some());
        write("members", &count.to_string(), &bytes);
    }
    for (n, content) in [[5; 48], [0; 48], [0xff; 48]].iter().enumerate() {
        let bytes = with_sum(b"STEMENKY\x01\0\0\0", content);
        assert!(fuzzing::node_key(&bytes).is_some());
        write("node_key", &n.to_string(), &bytes);
    }
    // Under way, between two passes, and with the log done and the tiles still to be read.
    for (n, numbers) in [[1, 2, 3, 4, 5, 6, 7], [0, 0, 1, 1, 1, 0, 0], [u64::MAX, 9, 0, 0, 0, 2, 1]]
        .iter()
        .enumerate()
    {
        let rest = [&[7; 16][..], &[0; 8], &numbers.map(u64::to_le_bytes).concat()];
        let bytes = with_sum(b"STEMESCR\x01\0\0\0", &rest.concat());
        assert!(fuzzing::scrub(&bytes).is_some());
        write("scrub", &n.to_string(), &bytes);
    }
}

fn write_manifests() {
    let (id, part) = ("01".repeat(16), "ab".repeat(32));
    let front = format!(
        "{{\"format\":\"stemedb.dev/archive@v1\",\"store_id\":\"{id}\",\"node_id\":\"{id}\",\
         \"epoch\":3,\"generation\":4,\"salt_seed\":\"{id}\",\"secret\":false,\"time\":1700000000,"
    );
    let segment = |first: u64, position: u64| {
        let next = first + 10;
        format!(
            "{{\"first_index\":{first},\"next_index\":{next},\"first_position\":{position},\
             \"len\":1000,\"parts\":[\"{part}\"]}}"
        )
    };
    let file = format!(
        "{{\"name\":\"base-00000000000000001500.ckpt\",\"len\":17825792,\"parts\":[\"{part}\",\
         \"{part}\"]}}"
    );
    let checkpoint = format!("{{\"log_size\":15,\"position\":1500,\"files\":[{file}]}}");
    let manifests = [
        format!(
            "{front}\"log_size\":20,\"log_root\":\"{part}\",\"count\":19,\"set_root\":\"{part}\",\
             \"holes\":[\"{part}\"],\"segments\":[{},{}],\"checkpoint\":{checkpoint}}}\n",
            segment(0, 0),
            segment(10, 1000)
        ),
        format!(
            "{front}\"log_size\":10,\"log_root\":\"{part}\",\"count\":10,\"set_root\":\"{part}\",\
             \"holes\":[],\"segments\":[{}],\"checkpoint\":null}}\n",
            segment(0, 0)
        ),
    ];
    for (n, manifest) in manifests.iter().enumerate() {
        assert!(fuzzing::manifest(manifest.as_bytes()).is_some(), "{manifest}");
        write("manifest", &n.to_string(), manifest.as_bytes());
    }
}

fn write_configs() {
    let everything = Config::load(&file_sources(String::new(), Vec::new(), Vec::new())).unwrap();
    let lines = everything.effective().map(|set| format!("{} = {}\n", set.key.name, set.value));
    write("config", "0", lines.collect::<String>().as_bytes());
    let texts = [
        "--sync.interval=1m\nSTEMEDB_LISTEN=127.0.0.1:7945\nlisten = \"127.0.0.1:1\"\n",
        "[cluster]\njoin = [\"a\", \"b:1\", \"https://[::1]:2\"]\ngossip = false\n",
        "[sync]\ninterval = 500\nwindows = \"22:00-06:00\"\nbytes_per_second = \"10M\"\n",
    ];
    for (n, text) in texts.iter().enumerate() {
        write("config", &(n + 1).to_string(), text.as_bytes());
    }
}

fn write_requests() {
    let fields = "Host: localhost\r\nConnection: close";
    let paths = [
        "/readyz",
        "/metrics",
        "/status.json",
        "/api/log?from=0&limit=5",
        "/api/cells?depth=4",
        "/api/cells/a?cursor=0",
        "/api/compare?peer=10.0.0.2:7845&depth=4",
        "/api/log/live",
        "/console/app.js",
    ];
    write("http", "0", format!("GET /livez HTTP/1.1\r\n{fields}").as_bytes());
    for (n, path) in paths.iter().enumerate() {
        let request = format!("GET {path} HTTP/1.1\r\n{fields}");
        write("http", &(n + 1).to_string(), request.as_bytes());
    }
    let id = "07".repeat(32);
    for (n, path) in ["assertion", "proof"].iter().enumerate() {
        let request = format!("HEAD http://127.0.0.1/api/{path}/{id} HTTP/1.1\r\n{fields}");
        write("http", &format!("id-{n}"), request.as_bytes());
    }
    let post = format!("POST /livez HTTP/1.1\r\n{fields}\r\nContent-Length: 3\r\n\r\nabc");
    write("http", "post", post.as_bytes());
    write("http", "old", b"GET /livez HTTP/1.0");
}

fn write_gossip() {
    // They meet; one writes; one leaves.
    let meet = [7, 0, 10, 7, 7, 0, 20, 7, 7];
    write("gossip", "0", &[&meet[..], &[6, 0, 3, 0, 10, 7, 7, 6, 1, 0, 7, 0, 200, 7]].concat());
    // A third party changes what is on the way.
    for n in 0..4 {
        let changes = noise(n, 120);
        write("gossip", &format!("changed-{n}"), &[&meet[..], &changes].concat());
    }
    // Frames as they are sent, to be changed.
    let mut now = Duration::from_secs(1);
    let mut nodes = [gossip::member(0), gossip::member(1)];
    let mut written = 0;
    for _ in 0..30 {
        let mut sent = Vec::new();
        for (from, node) in nodes.iter_mut().enumerate() {
            node.tick(now);
            while let Some(output) = node.output() {
                let Output::Send { frame, .. } = output else { continue };
                sent.push((1 - from, frame));
            }
        }
        for (to, frame) in sent {
            if frame.len() <= 3 * 255 && written < 12 {
                let mut script = vec![1, to as u8];
                let mut rest = frame.as_slice();
                for _ in 0..3 {
                    let (part, after) = rest.split_at(rest.len().min(255));
                    script.push(u8::try_from(part.len()).unwrap());
                    script.extend(part);
                    rest = after;
                }
                script.extend(meet);
                write("gossip", &format!("frame-{written:02}"), &script);
                written += 1;
            }
            let _ = nodes[to].receive(&frame, now);
        }
        now += Duration::from_millis(300);
    }
    assert!(written > 4);
}
