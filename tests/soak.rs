//! Tests that take long, some of them minutes. `make soak` runs them.

#![allow(unreachable_pub, reason = "nothing outside a test binary can reach its items")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]
#![allow(clippy::pedantic, reason = "plain code matters more in tests")]

mod support;

mod soak {
    mod crashes;
    mod cuts;
    mod dashboard;
    mod hostile;
    mod quiet;
    mod rolling;
    mod sentinel;
}
