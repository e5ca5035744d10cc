//! Redis as people run it: TLS, other networks.

mod connections;
mod tls;
