//! Circles between files of one crate: files that can only be understood, and moved, together.
//!
//! An arrow is a path that begins with `crate`, `self` or `super`, in a `use` or in code, and leads
//! to where the name is defined: what a module only exports is looked for where it has it from.
//! Found as text, tests left out. A module may use and export what its own children have: that is
//! no arrow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Path of a module, a name an element.
type Module = Vec<String>;
type Sources = BTreeMap<Module, String>;
type Arrows = BTreeMap<Module, BTreeSet<Module>>;
/// A path as it stands in a source.
type Names<'a> = Vec<&'a str>;
type Exports<'a> = BTreeMap<&'a Module, BTreeMap<&'a str, Names<'a>>>;

#[test]
fn files_of_a_crate_have_no_circles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let members = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    let members = members.filter(|path| path.join("src").is_dir() && is_member(path));
    let crates = members.map(|path| (name_of(&path), path.join("src")));
    let mut found = BTreeSet::new();
    for (name, dir) in crates.chain([("stemedb".to_owned(), root.join("src"))]) {
        let mut sources = Sources::new();
        read(&dir, &mut Vec::new(), &mut sources);
        assert!(!sources.is_empty(), "{name} has no sources: is the walk broken?");
        for circle in circles(&arrows(&sources)) {
            let full = |module: &Module| {
                [std::slice::from_ref(&name), module.as_slice()].concat().join("::")
            };
            found.insert(circle.iter().map(full).collect::<Vec<String>>());
        }
    }
    assert!(found.is_empty(), "circles: {found:#?}");
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

fn is_member(path: &Path) -> bool {
    name_of(path).starts_with("stemedb-")
}

fn read(dir: &Path, within: &mut Module, sources: &mut Sources) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            within.push(name);
            read(&path, within, sources);
            within.pop();
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests" {
            let mut module = within.clone();
            if !(within.is_empty() && ["lib", "main"].contains(&name.as_str())) {
                module.push(name);
            }
            if module.is_empty() && path.ends_with("main.rs") {
                continue;
            }
            sources.insert(module, code(&fs::read_to_string(&path).unwrap()));
        }
    }
}

/// A source without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let tests = text.find("#[cfg(test)]\nmod tests {");
    let text = text.get(..tests.unwrap_or(text.len())).unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

fn arrows(sources: &Sources) -> Arrows {
    let exports = sources.iter().map(|(module, text)| (module, exports(text))).collect();
    let of = |(module, text): (&Module, &String)| {
        let targets = paths(text).into_iter().filter_map(|path| target(module, &path, &exports, 0));
        let others = targets.filter(|target| !target.starts_with(module));
        (module.clone(), others.collect())
    };
    sources.iter().map(of).collect()
}

/// All paths of a source, those in braces one by one.
fn paths(text: &str) -> Vec<Names<'_>> {
    let mut found = Vec::new();
    for begin in ["crate::", "self::", "super::"] {
        for (at, _) in text.match_indices(begin) {
            let before = text.get(..at).unwrap().chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                tree(&mut Vec::new(), text.get(at..).unwrap(), &mut found);
            }
        }
    }
    found
}

/// What a source has by `use`: by name, the path that it is from.
fn exports(text: &str) -> BTreeMap<&str, Names<'_>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("use ") {
        let line = text.get(..at).unwrap().rsplit('\n').next().unwrap().trim();
        if line.is_empty() || line.starts_with("pub") {
            tree(&mut Vec::new(), text.get(at + 4..).unwrap(), &mut found);
        }
    }
    found.into_iter().filter_map(|path| Some((*path.last()?, path))).collect()
}

/// Follows a path to its end, and into braces. Returns what is left of the text.
fn tree<'a>(path: &mut Vec<&'a str>, text: &'a str, found: &mut Vec<Vec<&'a str>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        while !rest.trim_start().is_empty() && !rest.trim_start().starts_with('}') {
            let len = path.len();
            let left = tree(path, rest, found);
            path.truncate(len);
            // What follows the name, such as `as Other`, is nothing here.
            let end = left.find([',', '}']).unwrap_or(left.len());
            rest = left.get(end..).unwrap();
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        return rest.trim_start().strip_prefix('}').unwrap_or(rest);
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    path.push(name);
    if let Some(rest) = rest.strip_prefix("::") {
        return tree(path, rest, found);
    }
    found.push(path.clone());
    rest
}

/// The file that a path leads to; `hops` counts the exports on the way.
fn target(module: &Module, path: &[&str], exports: &Exports<'_>, hops: usize) -> Option<Module> {
    let mut at = if path.first() == Some(&"crate") { Vec::new() } else { module.clone() };
    for name in path {
        match *name {
            "crate" | "self" => {}
            "super" => {
                at.pop();
            }
            name => {
                at.push(name.to_owned());
                if exports.contains_key(&at) {
                    continue;
                }
                at.pop();
                let from = exports.get(&at).and_then(|of| of.get(name)).filter(|_| at != *module);
                let defined = from.filter(|_| hops < 8);
                let defined = defined.and_then(|from| target(&at, from, exports, hops + 1));
                return defined.or_else(|| exports.contains_key(&at).then_some(at));
            }
        }
    }
    exports.contains_key(&at).then_some(at)
}

/// Sets of modules each of which leads to all others.
fn circles(arrows: &Arrows) -> Vec<Vec<Module>> {
    let reach: BTreeMap<&Module, BTreeSet<&Module>> =
        arrows.keys().map(|module| (module, reached(module, arrows))).collect();
    let mut found = BTreeSet::new();
    for (module, there) in &reach {
        if there.contains(module) {
            let both = there.iter().filter(|other| reach[*other].contains(module));
            found.insert(both.map(|other| (*other).clone()).collect::<Vec<Module>>());
        }
    }
    found.into_iter().collect()
}

fn reached<'a>(module: &Module, arrows: &'a Arrows) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&Module> = arrows[module].iter().collect();
    while let Some(module) = next.pop() {
        if found.insert(module) {
            next.extend(&arrows[module]);
        }
    }
    found
}

#[test]
fn circles_are_found() {
    let sources = |files: &[(&str, &str)]| -> Sources {
        let module = |name: &str| name.split("::").map(ToOwned::to_owned).collect();
        files.iter().map(|(name, text)| (module(name), code(text))).collect()
    };
    let two = |one, other| sources(&[("a", one), ("b", other), ("c::d", ""), ("c", "")]);
    for (one, other) in [
        ("use crate::b::X;", "use crate::a;"),
        ("use super::b;", "fn f() { super::a::g() }"),
        ("use super::{c::d, b as e};", "use crate::{c::{d, self}, a::{X, Y}};"),
    ] {
        let found = circles(&arrows(&two(one, other)));
        assert_eq!(found, [[vec!["a".to_owned()], vec!["b".to_owned()]]], "{one} {other}");
    }
    for (one, other) in [
        ("use crate::b::X;", "// use crate::a;"),
        ("use crate::b::X;", "#[cfg(test)]\nmod tests {\n use crate::a;\n}"),
        ("use crate::b::X;", "use other::crate_a::a;\nuse crate::c::a;"),
    ] {
        assert!(circles(&arrows(&two(one, other))).is_empty(), "{one} {other}");
    }
    let hidden = sources(&[
        ("p", "pub use self::q::X;"),
        ("p::q", "use crate::r::f;"),
        ("r", "use crate::p::X;"),
    ]);
    let found = circles(&arrows(&hidden));
    assert_eq!(found.len(), 1, "through an export");
    let family = sources(&[("p", "use self::q::X;"), ("p::q", "use super::Y;")]);
    assert!(circles(&arrows(&family)).is_empty(), "a parent and its child");
}
