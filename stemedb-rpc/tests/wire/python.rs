//! A client in another language, made from the protocol files alone.
//!
//! Skipped, with a notice, where Python or its packages are not to be had.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use stemedb_rpc::{ServerOptions, Tokens};
use tokio::{process::Command, time::timeout};

use super::world::{World, run_within};

/// What the client needs, beside Python itself.
const PACKAGES: [&str; 3] = ["grpcio>=1.60", "grpcio-tools>=1.60", "blake3>=0.4"];
const IMPORTS: &str = "import grpc, grpc_tools.protoc, blake3";
/// Time to make the environment; the packages are some 20 MB.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(240);
const CLIENT_TIME_MAX: Duration = Duration::from_secs(60);

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Runs a program to its end, or kills it.
async fn output<A: Into<OsString>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
    time_max: Duration,
) -> Option<Output> {
    let running = Command::new(program)
        .args(args.into_iter().map(Into::into))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    timeout(time_max, running).await.ok()?.ok()
}

async fn succeeds<const N: usize>(program: &Path, args: [&str; N], time_max: Duration) -> bool {
    output(program, args, time_max).await.is_some_and(|output| output.status.success())
}

/// A Python that has what the client needs: the system's, or one in an environment of its own, made
/// at the first run and kept beside what is built.
async fn python() -> Option<PathBuf> {
    let check = Duration::from_secs(30);
    let system = Path::new("python3");
    if succeeds(system, ["-c", IMPORTS], check).await {
        return Some(system.to_owned());
    }
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let python = environment.join("bin").join("python");
    if succeeds(&python, ["-c", IMPORTS], check).await {
        return Some(python);
    }
    let place = environment.to_str()?;
    if !succeeds(system, ["-m", "venv", "--clear", place], INSTALL_TIME_MAX).await {
        return None;
    }
    let [grpc, tools, hash] = PACKAGES;
    let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    let args = [install.as_slice(), &["--only-binary=:all:", grpc, tools, hash]].concat();
    let installed = output(&python, args, INSTALL_TIME_MAX).await?;
    (installed.status.success() && succeeds(&python, ["-c", IMPORTS], check).await)
        .then_some(python)
}

#[test]
fn a_client_made_from_the_protocol_files_alone_gets_along() {
    let budget = INSTALL_TIME_MAX * 2 + CLIENT_TIME_MAX * 4;
    run_within(budget, async {
        let Some(python) = python().await else {
            eprintln!("skipped: there is no python3 with grpcio, grpcio-tools and blake3");
            return;
        };
        let tokens = Some(Tokens::parse(TOKEN.as_bytes()).unwrap());
        for (tokens, token) in [(None, None), (tokens, Some(TOKEN))] {
            let world = World::new(ServerOptions { tokens, ..ServerOptions::default() }).await;
            let here = Path::new(env!("CARGO_MANIFEST_DIR"));
            let mut args: Vec<OsString> = vec![
                here.join("tests/wire/client.py").into(),
                here.join("proto").into(),
                world.address.to_string().into(),
            ];
            args.extend(token.map(Into::into));
            let Some(output) = output(&python, args, CLIENT_TIME_MAX).await else {
                panic!("the Python client takes too long");
            };
            let said = String::from_utf8_lossy(&output.stdout);
            let complained = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{said}\n{complained}");
            assert!(said.contains("was not let into a session"), "{said}");
            assert_eq!(world.memory.len(), 41);
            world.end().await;
        }
    });
}
