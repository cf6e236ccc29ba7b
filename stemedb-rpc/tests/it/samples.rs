//! The samples of `docs/clients.md`, run as they are written there.
//!
//! They need tools: Python as the other tests with it, `grpcurl`, and Go with `protoc`,
//! `protoc-gen-go` and `protoc-gen-go-grpc`. `.ci/run` runs those whose tools are there.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use stemedb_rpc::ServerOptions;
use tokio::{process::Command, time::timeout};

use super::world::{Environment, run_within};

const DOCUMENT: &str = include_str!("../../../docs/clients.md");

/// The address that the document uses.
const ADDRESS: &str = "127.0.0.1:7845";

const SAMPLE_TIME_MAX: Duration = Duration::from_secs(300);

/// The code blocks of a language in a section.
fn blocks<'a>(section: &str, language: &str) -> Vec<&'a str> {
    let section = DOCUMENT.split("\n## ").find(|text| text.starts_with(&format!("{section}\n")));
    let fence = format!("```{language}\n");
    let blocks: Vec<&str> = section
        .expect("a section of the document")
        .split(&fence)
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "the section has no block of {language}");
    blocks
}

/// Runs commands in a directory that has the protocol files where the project has them.
async fn shell(dir: &Path, commands: &str) -> String {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let linked = dir.join("stemedb-rpc");
    if !linked.exists() {
        std::os::unix::fs::symlink(project.join("stemedb-rpc"), linked).unwrap();
    }
    let running = Command::new("sh")
        .args(["-euc", commands])
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(SAMPLE_TIME_MAX, running).await.expect("it takes too long").unwrap();
    let Output { status, stdout, stderr } = output;
    let (said, complained) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{commands}\n{said}\n{complained}");
    said.into_owned()
}

/// Runs a sample against a server with reflection, and gives what it said; `bodies` are what is
/// held then.
fn run_sample(bodies: &'static [&'static str], sample: impl AsyncFnOnce(&Path, &str) -> String) {
    run_within(SAMPLE_TIME_MAX * 2, async {
        let world = Environment::new(ServerOptions::default().reflection(true)).await;
        let dir = tempfile::tempdir().unwrap();
        let said = sample(dir.path(), &world.address.to_string()).await;
        let id = |body: &str| world.store.id(body.as_bytes());
        assert_eq!(world.store.len(), bodies.len() as u64, "{said}");
        for body in bodies {
            assert!(world.store.store.contains(&id(body)).unwrap(), "{said}");
        }
        world.end().await;
    });
}

#[test]
#[ignore = "needs Python with grpcio and blake3"]
fn the_python_sample_runs_as_written() {
    run_sample(&["the sky is blue, says Python"], async |dir, address| {
        let python = std::env::var("STEMEDB_PYTHON").unwrap_or_else(|_| "python3".into());
        let commands = blocks("Python", "sh")[0];
        // The environment is there.
        let (_, commands) = commands.split_once("venv/bin/python -m").unwrap();
        let commands = format!("venv/bin/python -m{commands}")
            .replace("venv/bin/python", &python)
            .replace(ADDRESS, address);
        fs::write(dir.join("client.py"), blocks("Python", "python")[0]).unwrap();
        let said = shell(dir, &commands).await;
        assert!(said.contains("read the sky is blue, says Python\nentry 0\n"), "{said}");
        said
    });
}

#[test]
#[ignore = "needs grpcurl"]
fn the_grpcurl_sample_runs_as_written() {
    run_sample(&["the sky is blue"], async |dir, address| {
        let said = shell(dir, &blocks("grpcurl", "sh")[0].replace(ADDRESS, address)).await;
        for told in
            ["stemedb.v1.StoreService\n", "rpc Append", "\"receipt\"", "\"part\"", "SERVING"]
        {
            assert!(said.contains(told), "{told}: {said}");
        }
        said
    });
}

#[test]
#[ignore = "needs Go, protoc, protoc-gen-go and protoc-gen-go-grpc"]
fn the_go_sample_runs_as_written() {
    run_sample(&["the sky is blue, says Go"], async |dir, address| {
        let (_, commands) = blocks("Go", "sh")[0].split_once("go mod init").unwrap();
        let commands = format!("go mod init{commands}").replace(ADDRESS, address);
        fs::write(dir.join("main.go"), blocks("Go", "go")[0]).unwrap();
        let said = shell(dir, &commands).await;
        assert!(said.contains("read the sky is blue, says Go\nentry 0\n"), "{said}");
        said
    });
}
