//! Circles between the files of a crate: files that depend on each other, directly or by others.
//!
//! Reads paths out of the text: those that begin with `crate`, `super`, `self` or a submodule. A
//! re-export is no dependency; a path that goes through one leads to the definition.

use std::collections::{BTreeMap, BTreeSet};

/// The files of a crate by the paths of their modules, `a::b` for `src/a/b.rs`, without comments and
/// tests. The crate's root is the empty path.
#[derive(Default)]
pub(super) struct Modules(BTreeMap<String, Module>);

struct Module {
    code: String,
    /// Names that are re-exported, with the paths that they stand for.
    exports: BTreeMap<String, Vec<String>>,
}

impl Modules {
    /// Takes in a file of the crate, by its path below `src`.
    pub(super) fn add(&mut self, path: &str, text: &str) {
        let path = path.trim_end_matches(".rs");
        if path.split('/').any(|part| part == "tests") || path == "main" {
            return;
        }
        let name = if path == "lib" { String::new() } else { path.replace('/', "::") };
        let text = text.split("\nmod tests {").next().unwrap_or(text);
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or(line));
        let mut code = lines.collect::<Vec<_>>().join("\n");
        let exports = take_exports(&mut code);
        self.0.insert(name, Module { code, exports });
    }

    /// Number of files.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Groups of files that depend on each other.
    pub(super) fn circles(&self) -> Vec<Vec<&str>> {
        let direct: BTreeMap<&str, BTreeSet<&str>> =
            self.0.keys().map(|name| (name.as_str(), self.dependencies(name))).collect();
        let reached: BTreeMap<&str, BTreeSet<&str>> =
            direct.keys().map(|name| (*name, reachable(name, &direct))).collect();
        let mut circles: Vec<Vec<&str>> = Vec::new();
        for (name, below) in &reached {
            if below.contains(name) && !circles.iter().flatten().any(|other| other == name) {
                circles.push(
                    below.iter().filter(|other| reached[*other].contains(name)).copied().collect(),
                );
            }
        }
        circles
    }

    /// The files that one depends on.
    fn dependencies(&self, name: &str) -> BTreeSet<&str> {
        paths(&self.0[name].code)
            .iter()
            .filter_map(|path| self.resolve(name, path, 8))
            .filter(|file| *file != name)
            .collect()
    }

    /// The file that defines what a path in the file `from` names; `None` for other crates, and for
    /// names that no file defines.
    fn resolve(&self, from: &str, path: &[String], depth: usize) -> Option<&str> {
        let mut module = from.to_owned();
        let mut rest = path;
        while let Some((first, behind)) = rest.split_first() {
            let below =
                if module.is_empty() { first.clone() } else { format!("{module}::{first}") };
            match first.as_str() {
                "crate" => module.clear(),
                "self" => {}
                "super" => module.truncate(module.rfind("::").unwrap_or_default()),
                _ if self.0.contains_key(&below) => module = below,
                item => {
                    let (file, found) = self.0.get_key_value(&module)?;
                    if let Some(path) = found.exports.get(item) {
                        return self.resolve(file, path, depth.checked_sub(1)?);
                    }
                    // The first part of a path is relative only if it names a submodule.
                    let relative = rest.len() == path.len();
                    return (!relative && defines(&found.code, item)).then_some(file.as_str());
                }
            }
            rest = behind;
        }
        self.0.get_key_value(&module).map(|(file, _)| file.as_str())
    }
}

/// All files that one leads to.
fn reachable<'a>(from: &str, direct: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut ahead = vec![from];
    while let Some(name) = ahead.pop() {
        for below in &direct[name] {
            if found.insert(*below) {
                ahead.push(below);
            }
        }
    }
    found
}

/// Removes the re-exports from code, and returns their names and paths.
fn take_exports(code: &mut String) -> BTreeMap<String, Vec<String>> {
    let mut exports = BTreeMap::new();
    for start in ["pub use ", "pub(crate) use ", "pub(super) use "] {
        while let Some(at) = code.find(start) {
            let end = code[at..].find(';').map_or(code.len(), |len| at + len);
            let mut found = Vec::new();
            expand(&code[at + start.len()..end], &[], &mut found);
            for (path, name) in found {
                exports.insert(name, path);
            }
            code.replace_range(at..end, "");
        }
    }
    exports
}

/// All paths in code, with those in braces one by one.
fn paths(code: &str) -> BTreeSet<Vec<String>> {
    let in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let start = code[..at].rfind(|c| !in_path(c)).map_or(0, |before| before + 1);
        // Each path once, from its first separator.
        if !code[start..at].is_empty() && !code[start..at].contains(':') {
            expand(&code[start..], &[], &mut found);
        }
    }
    found.into_iter().map(|(path, _)| path).collect()
}

/// Expands the path or the tree of paths at the start of a text; returns the text behind it. Each
/// path comes with the name that it is known by.
fn expand<'a>(text: &'a str, above: &[String], found: &mut Vec<(Vec<String>, String)>) -> &'a str {
    let mut text = text.trim_start();
    let mut path = above.to_vec();
    loop {
        if let Some(mut list) = text.strip_prefix('{') {
            while !list.trim_start().is_empty() && !list.trim_start().starts_with('}') {
                let behind = expand(list, &path, found);
                let comma = behind.trim_start();
                list = comma.strip_prefix(',').unwrap_or(comma);
                if list.len() == behind.len() && !list.starts_with('}') {
                    return "";
                }
            }
            return list.trim_start().strip_prefix('}').unwrap_or("");
        }
        let len = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let (part, behind) = text.split_at(len);
        if part.is_empty() {
            break;
        }
        if part != "self" || path.is_empty() {
            path.push(part.to_owned());
        }
        text = behind;
        let Some(below) = text.strip_prefix("::") else { break };
        text = below;
    }
    let mut name = path.last().cloned().unwrap_or_default();
    if let Some(other) = text.strip_prefix(" as ") {
        let len = other.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(other.len());
        name = other[..len].to_owned();
        text = &other[len..];
    }
    found.push((path, name));
    text
}

/// Whether code defines an item of this name.
fn defines(code: &str, item: &str) -> bool {
    ["fn", "struct", "enum", "trait", "type", "const", "static", "macro_rules!"].iter().any(
        |kind| {
            code.match_indices(&format!("{kind} {item}")).any(|(at, found)| {
                !code[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
            })
        },
    )
}

#[test]
fn circles_are_found() {
    let check = |files: &[(&str, &str)], expected: &[&[&str]]| {
        let mut modules = Modules::default();
        for (path, text) in files {
            modules.add(path, text);
        }
        assert_eq!(modules.circles(), expected, "{files:?}");
    };
    let a = ("a.rs", "pub struct A;\nuse crate::b::{self, B};\n");
    check(&[("lib.rs", "mod a;\npub use a::A;\n"), a, ("b.rs", "pub struct B;\n")], &[]);
    let b = |text| ("b.rs", text);
    for back in [
        "pub struct B;\nuse crate::a::A;\n",
        "pub struct B(crate::a::A);\n",
        "pub struct B;\nuse super::{c::C, a::A as Other};\n",
        "pub struct B;\nuse crate::{\n    A,\n};\n",
    ] {
        check(&[("lib.rs", "pub use a::A;\n"), a, b(back)], &[&["a", "b"]]);
    }
    for fine in [
        "pub struct B;\n// use crate::a::A;\n",
        "pub struct B;\n#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}\n",
        "pub struct B;\nuse std::a::A;\n",
        "pub struct B;\npub use crate::a::A;\n",
    ] {
        check(&[("lib.rs", "pub use a::A;\n"), a, b(fine)], &[]);
    }
    let parent = ("p.rs", "mod c;\npub struct P;\nfn f() { c::run(); }\n");
    check(&[parent, ("p/c.rs", "pub fn run() {}\n")], &[]);
    check(&[parent, ("p/c.rs", "use super::P;\npub fn run() {}\n")], &[&["p", "p::c"]]);
}
