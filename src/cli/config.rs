//! `btcfeed config`: every setting as it would be used, in the form of an `.env` file.

use crate::config::{Config, SETTINGS, without_password};
use std::io::{self, ErrorKind, Write};

/// Prints the settings. A password in an address is left out. Variables that look like settings and are none are told on
/// standard error.
///
/// # Errors
/// If they cannot be written, except to a reader that has gone: it has read all that it wanted (`btcfeed config | head`).
pub(super) fn run(config: &Config, given: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<()> {
    for variable in super::unknown_variables() {
        eprintln!("btcfeed: there is no setting {variable}");
    }
    let mut out = io::stdout().lock();
    let written = SETTINGS.iter().try_for_each(|setting| {
        let given = || given(setting.env).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let value = config.effective(setting.env).or_else(given);
        let value = value.or_else(|| setting.default.map(str::to_owned)).unwrap_or_default();
        writeln!(out, "# {}\n{}={}", setting.help, setting.env, without_password(&value))
    });
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
