//! Tests of the page, of `btcfeed.js` and of the browser's own `EventSource`, in a headless Chromium or Chrome that
//! chromedriver controls, with running replicas.
//!
//! The tests read what the page shows to a person and what it tells a screen reader. Only a few attributes of the page,
//! such as `data-points`, are there for the tests. `make browser` runs the tests.

#![allow(unreachable_pub, reason = "nothing outside a test binary can reach its items")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test fails by panicking")]
#![allow(clippy::pedantic, reason = "plain code matters more in tests")]

mod support;

mod browser {
    mod api_key;
    mod axis;
    mod binary;
    mod budget;
    mod choices;
    mod dead_feed;
    mod docs;
    mod driver;
    mod embed;
    mod event_source;
    mod faults;
    mod loops;
    mod options;
    mod page;
    mod restart;
    mod scripted_server;
    mod sdk;
    mod tabs;
    mod ticker;
    mod zoom;
}
