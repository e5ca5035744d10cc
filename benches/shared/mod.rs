//! What the benches that run whole replicas have in common: the servers, the clients, and the book in which it is kept who
//! got what.

#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod book;
pub(crate) mod connection;
pub(crate) mod crowd;
pub(crate) mod machine;
pub(crate) mod redis;
pub(crate) mod server;
pub(crate) mod witness;
