//! Properties of the terminal, read from the environment.

use crate::config::environment;

/// Returns true if the terminal cannot move its cursor.
pub(super) fn is_dumb() -> bool {
    environment("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Returns true if the user does not want colours (<https://no-color.org>).
pub(super) fn is_colourless() -> bool {
    environment("NO_COLOR").is_some_and(|value| !value.is_empty())
}
