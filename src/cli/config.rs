//! `btcfeed config`: every setting as it would be used, in the form of an `.env` file.

use crate::config::SETTINGS;

/// Prints the settings. A password in an address is left out.
pub(super) fn run(given: &dyn Fn(&str) -> Option<String>) {
    for setting in SETTINGS {
        let value = given(setting.env).filter(|value| !value.is_empty());
        let value = value.or_else(|| setting.default.map(str::to_owned)).unwrap_or_default();
        println!("# {}\n{}={}", setting.help, setting.env, without_password(&value));
    }
}

fn without_password(value: &str) -> String {
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
    }
}
