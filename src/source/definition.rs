//! The description of a source, from which it is opened, configured and documented.

use super::endpoint::Endpoint;
use super::http::{HttpApi, HttpSource};
use super::observation::Source;
use crate::tick::Currencies;
use std::time::Duration;

/// The description of one source. Each adapter exports one.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// The name in settings, logs and the `sources` of a tick.
    pub name: &'static str,
    /// The name in texts for people.
    pub title: &'static str,
    /// The currencies in which the source has prices.
    pub currencies: Currencies,
    /// True if the source is polled when the settings name no sources.
    pub is_default: bool,
    /// The minimum time between two polls of the source, from the limits that it documents.
    pub least_interval: Duration,
    /// The page to link to wherever its prices are shown.
    pub attribution: Option<&'static str>,
    /// The URL of the terms under which its prices may be used.
    pub terms: Option<&'static str>,
    /// The origin of its prices.
    pub origin: Origin,
}

/// The origin of a source's prices.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// An HTTP API.
    Http(HttpApi),
    /// This process. The prices are not real, so they must not be mixed with others.
    Simulation(fn() -> Box<dyn Source>),
}

impl Definition {
    /// Opens the source.
    ///
    /// # Errors
    /// If the URL is missing or not an HTTP URL, the key is not valid in a header, or the HTTP client cannot be
    /// created.
    pub fn open(&self, endpoint: &Endpoint) -> anyhow::Result<Box<dyn Source>> {
        Ok(match self.origin {
            Origin::Http(api) => {
                Box::new(HttpSource::open(self.name, self.currencies, self.least_interval, api, endpoint)?)
            }
            Origin::Simulation(open) => open(),
        })
    }

    /// Returns the HTTP API, if the source has one.
    pub fn api(&self) -> Option<&HttpApi> {
        match &self.origin {
            Origin::Http(api) => Some(api),
            Origin::Simulation(_) => None,
        }
    }
}
