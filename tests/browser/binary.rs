//! Which browser to drive: any Chromium or Chrome there is, whatever its system calls it.

use std::process::Command;

/// The same names as in `tests/setup`.
const NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// The path of the browser that this machine's chromedriver can drive: the first one of its version, else the first one, of
/// which chromedriver says then what is wrong with it.
pub fn find() -> String {
    let found: Vec<_> = NAMES.iter().filter_map(|name| Some((name, version(name)?))).collect();
    let driver = version("chromedriver").expect("chromedriver is installed (see `make browser`)");
    let of_its_version = found.iter().find(|(_, version)| *version == driver);
    let (name, _) = of_its_version.or(found.first()).unwrap_or_else(|| panic!("none of {NAMES:?} is here"));
    path(name)
}

/// The major version of a program. Ubuntu has programs of these names that only say what one should install.
fn version(name: &str) -> Option<u32> {
    let output = Command::new(name).arg("--version").output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().find_map(|word| word.split('.').next()?.parse().ok())
}

/// Where a program is: chromedriver asks for the whole path.
fn path(name: &str) -> String {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(name));
    paths.find(|path| path.is_file()).expect("it has just been started").display().to_string()
}
