//! How a source is reached.

use secrecy::SecretString;
use std::time::Duration;

/// How a source is reached.
#[derive(Clone, Default)]
pub struct Endpoint {
    /// The URL of the API, or `None` for the default of the source. The URL may contain a password.
    pub url: Option<SecretString>,
    /// The API key, if the API can use one.
    pub key: Option<SecretString>,
    /// The minimum time between two polls, or `None` for the default of the source.
    pub least_interval: Option<Duration>,
}
