//! Circles between files of one crate: files that can only be understood, and moved, together.
//!
//! An arrow is a path that begins with `crate`, `self` or `super`, in a `use` or in code. Found as
//! text, tests left out. A module may use and export what its own children have: that is no arrow.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Circles that are still there. The list may only shrink.
const ALLOWED: [&[&str]; 4] = [
    &["stemedb-sync::responder::open", "stemedb-sync::responder::push"],
    &[
        "stemedb-sync::session::core",
        "stemedb-sync::session::incoming",
        "stemedb-sync::session::transfer",
    ],
    &["stemedb-rpc::server::batch", "stemedb-rpc::server::store"],
    &["stemedb-rpc::server::push", "stemedb-rpc::server::replication"],
];

/// Path of a module, a name an element.
type Module = Vec<String>;
type Sources = BTreeMap<Module, String>;
type Arrows = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn files_of_a_crate_have_no_new_circles() {
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
    let allowed: BTreeSet<Vec<String>> =
        ALLOWED.iter().map(|circle| circle.iter().map(ToString::to_string).collect()).collect();
    let is_new = |circle: &&Vec<String>| {
        let part_of = |old: &Vec<String>| circle.iter().all(|module| old.contains(module));
        !allowed.iter().any(part_of)
    };
    let new: Vec<_> = found.iter().filter(is_new).collect();
    assert!(new.is_empty(), "new circles: {new:#?}");
    let gone: Vec<_> = allowed.difference(&found).collect();
    assert!(gone.is_empty(), "not there any more, or smaller: take out of ALLOWED: {gone:#?}");
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
            // Roots are above all others, so that they are in no circle.
            if !(within.is_empty() && ["lib", "main"].contains(&name.as_str())) {
                module.push(name);
                sources.insert(module, code(&fs::read_to_string(&path).unwrap()));
            }
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
    let of = |(module, text): (&Module, &String)| {
        let targets = paths(text).into_iter().filter_map(|path| target(module, &path, sources));
        let others = targets.filter(|target| !target.starts_with(module));
        (module.clone(), others.collect())
    };
    sources.iter().map(of).collect()
}

/// All paths of a source, those in braces one by one.
fn paths(text: &str) -> Vec<Vec<&str>> {
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

/// The file that a path leads to.
fn target(module: &Module, path: &[&str], sources: &Sources) -> Option<Module> {
    let mut at = if path.first() == Some(&"crate") { Vec::new() } else { module.clone() };
    for name in path {
        match *name {
            "crate" | "self" => {}
            "super" => {
                at.pop();
            }
            name => {
                at.push(name.to_owned());
                if !sources.contains_key(&at) {
                    at.pop();
                    break;
                }
            }
        }
    }
    sources.contains_key(&at).then_some(at)
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
    let family = sources(&[("p", "use self::q::X;"), ("p::q", "use super::Y;")]);
    assert!(circles(&arrows(&family)).is_empty(), "a parent and its child");
}
