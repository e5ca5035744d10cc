//! Redis as people run it: TLS, few rights, Sentinel, Cluster, other networks.

mod connections;
mod failover;
mod record;
mod rights;
mod tls;
mod wrong_type;
