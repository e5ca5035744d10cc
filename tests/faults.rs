//! The fault matrix: each fault of the store, alone and with others, and a checker that compares what the exchanges
//! answered, what the store holds and what each client got. `make faults` runs it.

#![allow(unreachable_pub, reason = "nothing outside a test binary can reach its items")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]
#![allow(clippy::pedantic, reason = "plain code matters more in tests")]

mod support;

mod faults {
    mod case;
    mod checker;
    mod clock;
    mod fault;
    mod history;
    mod matrix;
    mod promises;
    mod soak;
    mod split;
    mod stage;
    mod watcher;
}
