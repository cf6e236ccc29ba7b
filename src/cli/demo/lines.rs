//! Input that every clone has: `Cargo.lock` and the sources.

use std::fs;
use std::path::{Path, PathBuf};

/// A demonstration stays short however large the project grows.
const LINES_MAX: usize = 100_000;

/// The input.
pub(super) struct Lines {
    /// Every line that is not empty, in order, repetitions too.
    pub(super) bodies: Vec<Vec<u8>>,
    /// How many files they come from.
    pub(super) files: usize,
    /// Where they were found.
    pub(super) source: String,
}

/// Reads the project that this binary was built from, or where that is gone what was built in.
pub(super) fn gather() -> Lines {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found: Vec<Vec<u8>> =
        files(project).iter().filter_map(|path| fs::read(path).ok()).collect();
    if found.is_empty() {
        let built_in: [&[u8]; 4] = [
            include_bytes!("../../../Cargo.lock"),
            include_bytes!("../../cli.rs"),
            include_bytes!("../failure.rs"),
            include_bytes!("../append.rs"),
        ];
        return Lines {
            bodies: split(built_in.iter().copied()),
            files: built_in.len(),
            source: "Cargo.lock and sources as they were built in".to_owned(),
        };
    }
    Lines {
        bodies: split(found.iter().map(Vec::as_slice)),
        files: found.len(),
        source: format!("Cargo.lock and the sources in {}", project.display()),
    }
}

fn split<'a>(files: impl Iterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    files
        .flat_map(|file| file.split(|byte| *byte == b'\n'))
        .filter(|line| !line.is_empty())
        .take(LINES_MAX)
        .map(<[u8]>::to_vec)
        .collect()
}

/// `Cargo.lock`, then the Rust files of all `src` directories, sorted.
fn files(project: &Path) -> Vec<PathBuf> {
    let lock = project.join("Cargo.lock");
    let mut files: Vec<PathBuf> = lock.is_file().then_some(lock).into_iter().collect();
    let mut unread = vec![project.join("src")];
    unread.extend(children(project).into_iter().map(|child| child.join("src")));
    while let Some(dir) = unread.pop() {
        for path in children(&dir) {
            if path.is_dir() {
                unread.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    if let Some(sources) = files.get_mut(1..) {
        sources.sort();
    }
    files
}

fn children(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        // A link could lead in circles.
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        .map(|entry| entry.path())
        .collect()
}
