//! That the generated code is what the protocol files give.
use std::{env, fs, path::Path};

use prost::Message;

const FILES: [&str; 3] =
    ["stemedb/v1/node.proto", "stemedb/v1/replication.proto", "stemedb/v1/store.proto"];
const GENERATED: [&str; 2] = ["stemedb.v1.rs", "stemedb.v1.bin"];

/// Generates into a directory: the code, and the descriptors that the reflection service gives out.
fn generate(into: &Path) {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let mut files = protox::compile(FILES, [proto]).unwrap();
    for file in &mut files.file {
        file.source_code_info = None;
    }
    fs::write(into.join("stemedb.v1.bin"), files.encode_to_vec()).unwrap();
    tonic_prost_build::configure()
        .out_dir(into)
        .emit_rerun_if_changed(false)
        .compile_fds(files)
        .unwrap();
}

/// If this fails the protocol files have changed: run it with `STEMEDB_GENERATE=1` and look at what
/// the change does to programs that speak the old version.
#[test]
fn generated_code_is_current() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gen");
    if env::var_os("STEMEDB_GENERATE").is_some_and(|value| value == "1") {
        generate(&kept);
    }
    let made = tempfile::tempdir().unwrap();
    generate(made.path());
    for name in GENERATED {
        let same = fs::read(kept.join(name)).unwrap() == fs::read(made.path().join(name)).unwrap();
        assert!(
            same,
            "src/gen/{name} is not what the protocol files give: run this test with \
                       STEMEDB_GENERATE=1"
        );
    }
}
