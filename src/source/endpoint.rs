//! How a source is reached.

use secrecy::SecretString;
use std::time::Duration;

/// How a source is reached.
#[derive(Clone, Default)]
pub struct Endpoint {
    /// The URL of its API, instead of its own one. It may hold a password.
    pub url: Option<SecretString>,
    /// The API key, if its API can use one.
    pub key: Option<SecretString>,
    /// The minimum time between two polls, instead of its own one.
    pub least_interval: Option<Duration>,
}
