//! `btcfeed config`: every setting as it would be used, in the form of an `.env` file.

use crate::config::{Config, SETTINGS};
use std::io::{self, ErrorKind, Write};

/// Prints the settings. A password in an address is left out. Variables that look like settings and are none are told on standard error.
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

fn without_password(value: &str) -> String {
    // As redis-rs reads it in the address of a Unix socket.
    if let Some((before, after)) = value.split_once("pass=").filter(|_| value.starts_with("unix:")) {
        let rest = after.find('&').map_or("", |end| &after[end..]);
        return format!("{before}pass=***{rest}");
    }
    match value.split_once("://").map(|(scheme, rest)| (scheme, rest.rsplit_once('@'))) {
        Some((scheme, Some((user, host)))) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}:***@{host}")
        }
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn a_password_is_not_printed() {
        assert_eq!(without_password("redis://me:se@cret@host:6379/0"), "redis://me:***@host:6379/0");
        assert_eq!(without_password("redis://host:6379"), "redis://host:6379");
        assert_eq!(without_password("5s"), "5s");
        assert_eq!(
            without_password("unix:///run/r?db=1&pass=se:cret@x&user=me"),
            "unix:///run/r?db=1&pass=***&user=me"
        );
    }
}
