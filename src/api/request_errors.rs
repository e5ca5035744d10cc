//! Mistakes in a request, bounded in number and length. Otherwise an error response could be much larger than its
//! request. Also, a gRPC client that cannot read a long trailer would retry forever.

use crate::text::excerpt;

/// Maximum number of mistakes that are reported at once.
const MAX_MISTAKES: usize = 8;
/// Maximum number of characters of a mistake.
const MAX_CHARACTERS: usize = 160;

/// Mistakes in a request. All mistakes are counted, but only the first ones are kept.
#[derive(Debug, Default)]
pub(crate) struct RequestErrors {
    first: Vec<String>,
    count: usize,
}

impl RequestErrors {
    /// Adds a mistake.
    pub(crate) fn push(&mut self, mistake: &str) {
        self.count += 1;
        if self.first.len() < MAX_MISTAKES {
            self.first.push(excerpt(mistake, MAX_CHARACTERS));
        }
    }

    /// Returns true if there is no mistake.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns a text that lists the mistakes.
    pub(crate) fn report(&self) -> String {
        let report = self.first.join("; ");
        match self.count - self.first.len() {
            0 => report,
            more => format!("{report}; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_length_are_bounded() {
        let mut errors = RequestErrors::default();
        assert!(errors.is_empty());
        errors.push(&"ä".repeat(1000));
        assert_eq!(errors.report().chars().count(), MAX_CHARACTERS);
        (0..999).for_each(|_| errors.push("x"));
        assert!(errors.report().ends_with("; x; x; x; x; x; x; x; and 992 more"), "{}", errors.report());
    }
}
