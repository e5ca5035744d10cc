//! The colours of the terminal.

use crossterm::style::Stylize;

/// Paints text if colours are wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    is_on: bool,
}

impl Paint {
    /// A paint without colours.
    #[cfg(test)]
    pub(super) const NONE: Paint = Paint { is_on: false };

    pub(super) fn new(is_on: bool) -> Paint {
        Paint { is_on }
    }

    pub(super) fn good(self, text: &str) -> String {
        if self.is_on { text.dark_green().to_string() } else { text.to_owned() }
    }

    pub(super) fn bad(self, text: &str) -> String {
        if self.is_on { text.dark_red().to_string() } else { text.to_owned() }
    }

    pub(super) fn warning(self, text: &str) -> String {
        if self.is_on { text.dark_yellow().bold().to_string() } else { text.to_owned() }
    }

    pub(super) fn dim(self, text: &str) -> String {
        if self.is_on { text.dim().to_string() } else { text.to_owned() }
    }
}
