//! Shared code of the benches that run whole replicas: servers, clients, and the check of what the clients received.

#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod client_pool;
pub(crate) mod connection;
pub(crate) mod deliveries;
pub(crate) mod endpoint;
pub(crate) mod machine;
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod witness;
