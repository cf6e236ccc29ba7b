//! A client and a peer in another language, made from the protocol files and the documents alone.
//!
//! They need Python with `grpcio`, `grpcio-tools` and `blake3`: that of the environment variable
//! `STEMEDB_PYTHON`, or `python3`. `.ci/run` makes an environment with these and runs them:
//!
//! ```sh
//! STEMEDB_PYTHON=… cargo test -p stemedb-rpc --test it -- --ignored python
//! ```

use std::{ffi::OsString, path::Path, process::Stdio, time::Duration};

use stemedb_rpc::{ServerOptions, Tokens};
use stemedb_sync::Limits;
use tokio::{process::Command, time::timeout};

use super::{
    meeting::Served,
    stores::TestStore,
    world::{Environment, run_within},
};

const CLIENT_TIME_MAX: Duration = Duration::from_secs(60);

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Runs a program of this folder to its end, and gives what it printed.
async fn python(program: &str, args: &[&str]) -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let interpreter = std::env::var_os("STEMEDB_PYTHON").unwrap_or_else(|| "python3".into());
    let paths: [OsString; 2] =
        [here.join("tests/it").join(program).into(), here.join("proto").into()];
    let running = Command::new(interpreter)
        .args(paths)
        .args(args)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(CLIENT_TIME_MAX, running).await.expect("it takes too long").unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    said
}

#[test]
#[ignore = "needs Python with grpcio and blake3"]
fn a_python_client_made_from_the_protocol_files_alone_gets_along() {
    run_within(CLIENT_TIME_MAX * 4, async {
        let tokens = Some(Tokens::parse(TOKEN.as_bytes()).unwrap());
        for (tokens, token) in [(None, None), (tokens, Some(TOKEN))] {
            let world = Environment::new(ServerOptions::default().tokens(tokens)).await;
            let address = world.address.to_string();
            let args: Vec<&str> = [address.as_str()].into_iter().chain(token).collect();
            let said = python("client.py", &args).await;
            assert!(said.contains("was not let into a session"), "{said}");
            assert_eq!(world.store.len(), 41);
            world.end().await;
        }
    });
}

#[test]
#[ignore = "needs Python with grpcio and blake3"]
fn a_python_peer_syncs_both_ways_to_equal_roots() {
    run_within(CLIENT_TIME_MAX * 4, async {
        let secret = "a secret of the cluster";
        // Some in common, much or little on one side only, and nothing on one side.
        let cases = [
            (50..350, "0", "300", None),
            (0..2000, "1000", "2010", Some(secret)),
            (0..40, "0", "0", None),
            (0..0, "0", "40", None),
        ];
        for ((theirs, from, end, secret), layer) in
            cases.iter().flat_map(|case| [(case.clone(), "symbols"), (case.clone(), "descent")])
        {
            let store = TestStore::of(secret.map(str::as_bytes), theirs.clone());
            let served = Served::new(&store, Limits::default()).await;
            let address = served.address.to_string();
            let mut args = vec![address.as_str(), "1", from, end, layer];
            args.extend(secret);
            let said = python("peer.py", &args).await;
            let mine = from.parse::<u64>().unwrap()..end.parse().unwrap();
            let only_mine = mine.filter(|n| !theirs.contains(n)).count() as u64;
            let count = theirs.end - theirs.start + only_mine;
            let root = store.root();
            assert!(said.ends_with(&format!("equal {count} {root}\n")), "{said}");
            assert_eq!(store.len(), count);
            served.end().await;
        }
    });
}
