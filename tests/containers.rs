//! Tests with other versions of Redis, and with compatible servers, in containers. `make containers` runs them.

#![allow(unreachable_pub, reason = "nothing outside a test binary can reach its items")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]
#![allow(clippy::pedantic, reason = "plain code matters more in tests")]

#[macro_use]
mod support;

mod containers {
    mod redis;
}
