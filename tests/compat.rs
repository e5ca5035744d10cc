//! A replica of an older version beside one of this version, on one Redis. `make compat` builds the newest release and
//! runs these tests with it. `BTCFEED_OLD_BINARY` names another program.

#![allow(unreachable_pub, reason = "nothing outside a test binary can reach its items")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]
#![allow(clippy::pedantic, reason = "plain code matters more in tests")]

mod support;

mod compat {
    mod rolling;
}
