//! A headless browser.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const NAMES: [&str; 5] =
    ["chromium-headless-shell", "headless_shell", "chromium", "chromium-browser", "google-chrome"];

pub(super) struct Browser {
    program: PathBuf,
    profile: tempfile::TempDir,
}

impl Browser {
    /// The first that is there.
    pub(super) fn find() -> Self {
        let path = env::var_os("PATH").unwrap_or_default();
        let found = NAMES.iter().find_map(|name| {
            env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
        });
        let program =
            found.unwrap_or_else(|| panic!("there is no Chromium on PATH: .ci/run installs it"));
        Self { program, profile: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str], url: &str) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--headless", "--disable-gpu", "--hide-scrollbars", "--mute-audio"])
            .args(["--no-first-run", "--disable-extensions", "--disable-background-networking"])
            // Tests run in containers, often as root, where its sandbox can't be had.
            .args(["--no-sandbox", "--disable-dev-shm-usage"])
            .arg(format!("--user-data-dir={}", self.profile.path().display()))
            // Time runs as fast as the page lets it.
            .arg("--virtual-time-budget=6000")
            .args(arguments)
            .arg(url)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// The page as it is after its scripts have run for a while.
    pub(super) fn dom(&self, url: &str) -> String {
        let output = self.command(&["--dump-dom"], url).output().unwrap();
        assert!(output.status.success(), "{:?}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// A picture of the page, if pictures are wanted.
    pub(super) fn picture(&self, url: &str, name: &str, size: (u32, u32), dark: bool) {
        let Some(dir) = env::var_os("STEMEDB_SCREENSHOTS") else { return };
        fs::create_dir_all(&dir).unwrap();
        let file = Path::new(&dir).join(format!("{name}.png"));
        let size = format!("--window-size={},{}", size.0, size.1);
        let picture = format!("--screenshot={}", file.display());
        let mut arguments = vec![size.as_str(), picture.as_str()];
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0");
        } else {
            arguments.push("--blink-settings=preferredColorScheme=1");
        }
        assert!(self.command(&arguments, url).status().unwrap().success());
    }
}

/// The text of the element with an id, as far as it has no elements in it.
pub(super) fn text_of(dom: &str, id: &str) -> String {
    let start = dom.find(&format!(" id=\"{id}\"")).unwrap_or_else(|| panic!("no {id}"));
    let rest = &dom[start..];
    let rest = &rest[rest.find('>').unwrap() + 1..];
    unescape(&rest[..rest.find('<').unwrap()])
}

fn unescape(html: &str) -> String {
    html.replace("&lt;", "<").replace("&gt;", ">").replace("&nbsp;", " ").replace("&amp;", "&")
}
