//! The console in a browser.

use std::{fmt::Write, fs};

use stemedb::{AssertionId, Options, Store, node::http::HttpOptions};

use super::{
    browser::{Browser, text_of},
    node::Serving,
    request::get,
};

const SCRIPT: &str = "<script>document.title='owned';document.body.dataset.owned=1</script>";
const IMAGE: &str = "<img src=x onerror=\"document.title='owned';document.body.dataset.owned=1\">";

fn serving() -> Serving {
    let mut bodies: Vec<String> = (0..4000)
        .map(|n| {
            format!("{{\"subject\":\"sensor-{}\",\"predicate\":\"reads\",\"value\":{n}}}", n % 17)
        })
        .collect();
    bodies.push(SCRIPT.into());
    bodies.push(IMAGE.into());
    Serving::with(bodies, options())
}

/// A browser whose time runs by itself waits for what does not end: the page does without following
/// the log, as where too many follow it, and looks at it now and then.
fn options() -> HttpOptions {
    HttpOptions::default().listeners_max(0)
}

fn id_of(body: &str) -> String {
    AssertionId(*blake3::hash(body.as_bytes()).as_bytes()).to_string()
}

fn encode(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        write!(encoded, "%{byte:02X}").unwrap();
        encoded
    })
}

#[test]
fn all_files_of_the_page_are_served() {
    let serving = serving();
    let page = get(serving.address, "/");
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let mut files = vec!["/console/console.css".to_owned(), "/console/console.js".to_owned()];
    assert!(files.iter().all(|file| page.body.contains(file.as_str())));
    let mut at = 0;
    while let Some(file) = files.get(at).cloned() {
        let answer = get(serving.address, &file);
        assert_eq!(answer.code, 200, "{file}");
        assert_eq!(answer.field("cache-control"), Some("no-cache"));
        let tag = answer.field("etag").unwrap();
        let again = super::request::ask(
            serving.address,
            "GET",
            &file,
            &format!("Host: localhost\r\nIf-None-Match: {tag}\r\n"),
        );
        assert_eq!((again.code, again.body.as_str()), (304, ""));
        for banned in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!answer.body.contains(banned), "{file} has {banned}");
        }
        let imports = answer.body.lines().filter_map(|line| line.split("from \"./").nth(1));
        for import in imports {
            let import = format!("/console/{}", import.trim_end_matches("\";"));
            if !files.contains(&import) {
                files.push(import);
            }
        }
        at += 1;
    }
    assert!(files.len() > 8, "{files:?}");
    for outside in ["http://", "https://", " style=", "onclick", "<script>"] {
        assert!(!page.body.contains(outside), "the page has {outside}");
    }
}

#[test]
#[ignore = "needs Chromium: .ci/run"]
fn the_page_shows_the_node_and_what_is_in_bodies_stays_text() {
    let browser = Browser::find();
    let serving = serving();
    serving.fill_peer(|index| index % 700 == 5);
    let head = serving.node.store().head().unwrap();
    for body in [SCRIPT, IMAGE] {
        let id = id_of(body);
        let dom = browser.dom(&format!("http://{}/#id={id}", serving.address));
        assert_eq!(text_of(&dom, "set-root"), head.set_root.to_string());
        assert_eq!(text_of(&dom, "log-root"), head.log_root.to_string());
        assert_eq!(text_of(&dom, "count"), "4,002");
        assert_eq!(text_of(&dom, "ready"), "Ready");
        assert_eq!(text_of(&dom, "found-id"), id);
        assert_eq!(text_of(&dom, "found-body"), body, "as text");
        assert!(text_of(&dom, "found-note").contains("the hash is the id"), "{dom}");
        assert!(!dom.contains("owned=\"1\"") && !dom.contains("<title>owned"), "it ran");
        assert!(!dom.contains("<img"), "the body became an element");
        let summary = text_of(&dom, "cells-summary");
        let differ = format!("of 256 cells differ from {}", serving.peer_address);
        assert!(summary.contains(&differ), "{summary}");
        let proof = text_of(&dom, "proof-state");
        assert!(proof.starts_with("Verified in this browser: "), "{proof}");
        assert!(proof.contains(" is in the set of 4,002 "), "{proof}");
        // The end of the log, newest first, has both bodies as previews.
        assert!(dom.contains("&lt;img src=x onerror="), "{dom}");
    }
    let absent = browser.dom(&format!("http://{}/#id={}", serving.address, "7".repeat(64)));
    let proof = text_of(&absent, "proof-state");
    assert!(proof.contains(" is not in the set of 4,002 "), "{proof}");
}

#[test]
#[ignore = "needs Chromium: .ci/run"]
fn a_proof_that_was_changed_proves_nothing_in_the_browser() {
    let browser = Browser::find();
    let serving = serving();
    let id = id_of(SCRIPT);
    let proof = get(serving.address, &format!("/api/proof/{id}")).json();
    let file = proof["file"].as_str().unwrap();
    let lines: Vec<&str> = file.lines().collect();
    let state = |file: &str, root: &str| {
        let fragment = format!("proof={}&root={root}", encode(file));
        let dom = browser.dom(&format!("http://{}/#{fragment}", serving.address));
        text_of(&dom, "proof-state")
    };
    let root = proof["root"].as_str().unwrap();
    assert!(state(file, root).starts_with("Verified in this browser"), "{}", state(file, root));
    let swapped = |from: &str, to: &str| file.replacen(from, to, 1);
    let sibling = lines[5];
    let first = if sibling.starts_with('A') { "B" } else { "A" };
    let other_sibling = swapped(sibling, &format!("{first}{}", &sibling[1..]));
    let other_id = swapped(&format!("id {id}"), &format!("id {}", id_of(IMAGE)));
    let shorter = swapped(&format!("{sibling}\n"), "");
    let other_count = swapped("count 4002", "count 4003");
    let absent = swapped(&format!("terminal {id}"), "terminal empty");
    for (what, file, root) in [
        ("a sibling", other_sibling.as_str(), root),
        ("the id", &other_id, root),
        ("a line less", &shorter, root),
        ("the count", &other_count, root),
        ("the terminal", &absent, root),
        ("the end", &file[..file.len() - 1], root),
        ("the root trusted", file, &"0".repeat(64)),
        ("no root at all", file, "abc"),
    ] {
        let state = state(file, root);
        assert!(state.starts_with("Proves nothing: "), "{what}: {state}");
    }
}

#[test]
#[ignore = "needs Chromium: .ci/run"]
fn the_page_s_hash_is_blake3() {
    let browser = Browser::find();
    let dir = tempfile::tempdir().unwrap();
    let script = include_str!("../../../stemedb-node/src/console/blake3.js").replace("export ", "");
    // Around each length at which blocks, chunks and trees of chunks change.
    let lens =
        [0, 1, 32, 40, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 2048, 2049, 3072, 5000, 31_744];
    let page = format!(
        "<body><script>{script}\nconst key = new TextEncoder().encode('whats the Elvish word for \
         friend');\nconst hex = (bytes) => Array.from(bytes, (b) => \
         b.toString(16).padStart(2, '0')).join('');\nfor (const len of {lens:?}) {{ const input = \
         Uint8Array.from({{ length: len }}, (_, n) => n % 251); document.body.append(`[${{len}} \
         ${{hex(hash(input))}} ${{hex(keyedHash(key, input))}}]`); }}</script>"
    );
    let file = dir.path().join("vectors.html");
    fs::write(&file, page).unwrap();
    let dom = browser.dom(&format!("file://{}", file.display()));
    for len in lens {
        let input: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
        let plain = blake3::hash(&input);
        let keyed = blake3::keyed_hash(b"whats the Elvish word for friend", &input);
        assert!(dom.contains(&format!("[{len} {plain} {keyed}]")), "{len}: {dom}");
    }
}

/// The scripts of the page in one, over a network that answers the first look-up last.
#[test]
#[ignore = "needs Chromium: .ci/run"]
fn a_late_answer_does_not_replace_that_of_a_newer_look_up() {
    let browser = Browser::find();
    let dir = tempfile::tempdir().unwrap();
    let modules = [
        include_str!("../../../stemedb-node/src/console/blake3.js"),
        include_str!("../../../stemedb-node/src/console/dom.js"),
        include_str!("../../../stemedb-node/src/console/format.js"),
        include_str!("../../../stemedb-node/src/console/proof.js"),
        include_str!("../../../stemedb-node/src/console/lookup.js"),
    ];
    let without_modules = |text: &str| -> String {
        let lines = text.lines().filter(|line| !line.starts_with("import "));
        let lines: Vec<String> = lines.map(|line| line.replace("export ", "")).collect();
        lines.join("\n") + "\n"
    };
    let scripts: String = modules.into_iter().map(without_modules).collect();
    let page = include_str!("../../../stemedb-node/src/console/index.html");
    let (_, body) = page.split_once("<body>").unwrap();
    let (body, _) = body.split_once("</body>").unwrap();
    let stub = "window.fetch = (path) => new Promise((answer) => { const id = path.slice(-64); \
                const body = { id, index: 1, time: 0, len: 1, shown: 1, text: 'x', hex: '78', \
                file: `proof of ${id}` }; setTimeout(() => answer({ ok: true, json: async () => \
                body }), id[0] === 'a' ? 1000 : 10); });";
    let looking = "lookUp('a'.repeat(64)); lookUp('b'.repeat(64));";
    let script = format!("{stub}\n{scripts}\n{looking}");
    let file = dir.path().join("page.html");
    fs::write(&file, format!("<body>{body}<script type=\"module\">{script}</script>")).unwrap();
    let dom = browser.dom(&format!("file://{}", file.display()));
    assert_eq!(text_of(&dom, "found-id"), "b".repeat(64));
}

#[test]
#[ignore = "needs Chromium: .ci/run"]
fn rates_and_latencies_have_scales() {
    let browser = Browser::find();
    let serving = serving();
    let dom = browser.dom(&format!("http://{}/", serving.address));
    assert_eq!(text_of(&dom, "growth-most"), "4,003");
    assert_eq!(text_of(&dom, "growth-least"), "4,002");
    for (scale, number) in [("rates-most", "1/s"), ("rates-least", "0/s")] {
        assert_eq!(text_of(&dom, scale), number, "{scale}");
    }
    assert_eq!(text_of(&dom, "latencies-least"), "0 ms");
    assert!(text_of(&dom, "latencies-most").ends_with("ms"), "{dom}");
    assert!(text_of(&dom, "disk-note").contains("iB kept in reserve"), "{dom}");
}

#[test]
#[ignore = "needs Chromium: .ci/run"]
fn problems_are_shown() {
    let browser = Browser::find();
    // The text of a problem has a name in it that others chose.
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("<b>free");
    let store = Store::open(&dir, Options::default()).unwrap();
    let serving = Serving::over(store, options());
    fs::remove_dir_all(&dir).unwrap();
    assert!(serving.node.store().append(b"lost").is_err());
    let dom = browser.dom(&format!("http://{}/", serving.address));
    assert_eq!(text_of(&dom, "ready"), "Not ready");
    assert!(dom.contains("&lt;b&gt;free"), "{dom}");
    browser.picture(&format!("http://{}/", serving.address), "problems", (1280, 1500), false);
}

#[test]
#[ignore = "needs Chromium: .ci/run"]
fn where_the_trees_fail_no_count_and_no_root_are_shown() {
    let browser = Browser::find();
    let serving = Serving::with(["one"], options());
    serving.break_trees();
    let dom = browser.dom(&format!("http://{}/", serving.address));
    for part in ["count", "log-size", "set-root", "log-root"] {
        assert_eq!(text_of(&dom, part), "not known", "{part}: {dom}");
    }
    assert_eq!(text_of(&dom, "ready"), "Not ready");
    assert!(dom.contains("restart the node, which rebuilds it"), "{dom}");
}

#[test]
#[ignore = "needs Chromium: .ci/run"]
fn pictures() {
    if std::env::var_os("STEMEDB_SCREENSHOTS").is_none() {
        return;
    }
    let browser = Browser::find();
    let serving = serving();
    serving.fill_peer(|index| index % 700 == 5 || (1900..1910).contains(&index));
    let url = format!("http://{}/#id={}", serving.address, id_of(IMAGE));
    for (dark, scheme) in [(false, "light"), (true, "dark")] {
        browser.picture(&url, &format!("wide-{scheme}"), (1280, 1900), dark);
        browser.picture(&url, &format!("phone-{scheme}"), (400, 4200), dark);
    }
}

/// `cargo test --test it -- --ignored --nocapture console_by_hand`: the console of a test node,
/// to be looked at.
#[test]
#[ignore = "serves for ten minutes"]
fn console_by_hand() {
    let serving = Serving::start([SCRIPT, IMAGE]);
    let append = |bodies: std::ops::Range<u32>| {
        serving.node.store().append_batch(bodies.map(|n| format!("assertion {n}"))).unwrap();
    };
    append(0..4000);
    serving.fill_peer(|index| index % 700 == 5 || (1900..1910).contains(&index));
    println!("http://{}/#id={}", serving.address, id_of(IMAGE));
    for second in 0..600 {
        append(4000 + 20 * second..4000 + 20 * (second + 1) - second % 10);
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}
