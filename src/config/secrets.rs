//! What may be a password is printed nowhere: it stands in an address, if anywhere.

/// An address that works, without its password. Any other value stays as it is.
pub fn without_password(value: &str) -> String {
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

/// An address that cannot be used, as it may be printed: where a password may stand in it, only its scheme.
pub(super) fn without_secrets(address: &str) -> String {
    let (scheme, rest) = address.find("://").map_or(("", address), |end| address.split_at(end + 3));
    let is_port = |port: &str| port.split('/').next().is_some_and(|port| port.parse::<u16>().is_ok());
    let may_have_one = rest.contains(['@', '?', '#'])
        || rest.split_once(':').is_some_and(|(host, port)| host.is_empty() || !is_port(port));
    if may_have_one { format!("{scheme}***") } else { address.to_owned() }
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
