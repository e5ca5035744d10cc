//! Finds a Chromium or Chrome that chromedriver can control. Its program has different names on different systems.

use std::process::Command;

/// The same names as in `tests/setup`.
const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// Returns the path of the first browser with chromedriver's version. If there is none, returns the path of the first
/// browser, and chromedriver reports why it cannot control that one.
pub fn find() -> String {
    let found: Vec<_> = NAMES.iter().filter_map(|name| Some((name, version(name)?))).collect();
    let driver = version("chromedriver").expect("chromedriver is installed (see `make browser`)");
    let of_its_version = found.iter().find(|(_, version)| *version == driver);
    let (name, _) = of_its_version.or(found.first()).unwrap_or_else(|| panic!("none of {NAMES:?} is installed"));
    path(name)
}

/// Returns the major version of a program, if the program prints one. Ubuntu has programs of these names that only tell
/// the user to install a snap.
fn version(name: &str) -> Option<u32> {
    let output = Command::new(name).arg("--version").output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok())
}

/// Returns the full path of a program, which chromedriver needs.
fn path(name: &str) -> String {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(name));
    paths.find(|path| path.is_file()).expect("it has just been started").display().to_string()
}
