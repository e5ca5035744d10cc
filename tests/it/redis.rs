//! Redis as people run it: TLS, few rights, Sentinel, Cluster, other networks.

mod connections;
mod failover;
mod rights;
mod tls;
