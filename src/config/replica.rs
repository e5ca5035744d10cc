//! The settings that differ between replicas: the role and the name.

use super::reader::Reader;
use super::row::Row;
use super::setting::{DefaultValue, Setting};
use super::values::{Name, Words};

const SECTION: &str = "Replica";

const ROLE: Row<Words<Role>> = Row {
    env: "BTCFEED_ROLE",
    help: "Work of this replica: all, fetch or serve",
    details: "With fetch, the replica polls the exchanges while it is the leader, and serves no clients. With serve, \
              it only serves clients. With all, it does both. Without Redis there is only one replica, so its role \
              must be all.",
    values: Words(&[("all", Role::All), ("fetch", Role::Fetch), ("serve", Role::Serve)]),
    default: DefaultValue::Fixed("all"),
    example: "serve",
};

const REPLICA: Row<Name> = Row {
    env: "BTCFEED_REPLICA",
    help: "Name of this replica in logs, in the lease and in `hello` messages",
    details: "",
    values: Name,
    default: DefaultValue::Derived("the host name and the process id"),
    example: "replica-1",
};

/// The work of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It fetches prices while it is the leader, and serves clients.
    All,
    /// It only fetches.
    Fetch,
    /// It only serves.
    Serve,
}

/// Returns the rows of this file.
pub(super) fn settings() -> Vec<Setting> {
    vec![ROLE.setting(SECTION), REPLICA.setting(SECTION)]
}

/// Reads the role of a replica.
pub(super) fn read_role(reader: &mut Reader<'_>, has_redis: bool) -> Role {
    let role = reader.value(&ROLE);
    if !has_redis && role != Role::All {
        reader.reject(&ROLE, "all, because there is no other replica if REDIS_URL is not set");
    }
    role
}

/// Reads the name of a replica. By default it is made of the host name and the process id.
pub(super) fn read_name(reader: &mut Reader<'_>) -> String {
    reader.lookup(&REPLICA).unwrap_or_else(|| {
        let host = rustix::system::uname();
        format!("{}-{}", host.nodename().to_string_lossy(), std::process::id())
    })
}
