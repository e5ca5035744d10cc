//! The page, the SDK and the browser's own `EventSource` in a real browser: a headless Chromium or Chrome, driven by
//! chromedriver, before real replicas.
//!
//! The page is read as a person reads it, by what it shows and what it says to a screen reader; it has nothing in it for
//! tests. Run by `make browser`.

#![allow(unreachable_pub, reason = "this crate is a program, whose modules are all its own")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking, and waits for nobody")]
#![allow(clippy::pedantic, reason = "what a test says should be plain before it is polished")]

mod axis;
mod binary;
mod browser;
mod choices;
mod event_source;
mod faults;
mod loops;
mod odd;
mod options;
mod page;
mod restart;
mod sdk;
#[allow(dead_code, reason = "it is there for the other tests too")]
#[path = "../it/support/mod.rs"]
mod support;
