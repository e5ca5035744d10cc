//! A word of a list that newer versions may extend.

use serde::{Deserialize, Serialize};

/// A word that this version knows, or the text of a word that only newer versions know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word<T> {
    /// A word that this version knows.
    Known(T),
    /// A word of a newer version.
    Other(String),
}

impl<T> Word<T> {
    /// Returns the meaning of the word, if this version knows it.
    pub fn known(self) -> Option<T> {
        match self {
            Word::Known(known) => Some(known),
            Word::Other(_) => None,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(known: T) -> Word<T> {
        Word::Known(known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::GapReason;

    #[test]
    fn unknown_word_is_kept_as_it_is() {
        for (json, word) in [
            (r#""history_lost""#, Word::Known(GapReason::HistoryLost)),
            (r#""eclipse""#, Word::Other("eclipse".to_owned())),
        ] {
            assert_eq!(serde_json::from_str::<Word<GapReason>>(json).unwrap(), word);
            assert_eq!(serde_json::to_string(&word).unwrap(), json);
        }
        assert!(serde_json::from_str::<Word<GapReason>>("7").is_err());
    }
}
