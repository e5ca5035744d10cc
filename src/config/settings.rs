//! The list of all settings.

use super::setting::Setting;
use super::{access, addresses, drain, leader, prices, redis_store, replica, server, store, telemetry};
use std::sync::LazyLock;

/// Returns all settings, in the order of the help texts and documents.
pub fn settings() -> &'static [Setting] {
    static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| {
        let tables: [fn() -> Vec<Setting>; 10] = [
            redis_store::settings,
            store::settings,
            replica::settings,
            server::settings,
            addresses::settings,
            access::settings,
            prices::settings,
            leader::settings,
            drain::settings,
            telemetry::settings,
        ];
        tables.into_iter().flat_map(|table| table()).collect()
    });
    &SETTINGS
}

/// Returns the sections with their settings, in the order of [`settings`].
pub fn sections() -> impl Iterator<Item = (&'static str, &'static [Setting])> {
    settings().chunk_by(|a, b| a.section == b.section).map(|settings| (settings[0].section, settings))
}
