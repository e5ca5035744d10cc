//! A row of the tables of settings: the setting together with the type of its values and their bounds.

use super::setting::{DefaultValue, Setting};

/// A setting. `V` describes the values that it accepts.
#[derive(Clone, Copy)]
pub(super) struct Row<V> {
    pub(super) env: &'static str,
    pub(super) help: &'static str,
    pub(super) details: &'static str,
    pub(super) values: V,
    pub(super) default: DefaultValue,
    pub(super) example: &'static str,
}

/// The values that a setting accepts.
pub(super) trait Values {
    /// The type of a value.
    type Value;

    /// Describes the accepted values, as a continuation of "expected".
    fn expected(&self) -> String;

    /// Parses a value.
    fn parse(&self, text: &str) -> Result<Self::Value, Rejected>;

    /// Returns the text without passwords.
    fn redact(&self, text: &str) -> String {
        text.to_owned()
    }

    /// Returns true if a value must not be shown.
    fn is_secret(&self) -> bool {
        false
    }
}

/// The reason why a value is rejected.
#[derive(Debug)]
pub(super) enum Rejected {
    /// The value is not accepted.
    Unexpected,
    /// This part of the value is not accepted.
    Part(String),
    /// The value or a part of it is not accepted. The text quotes it and gives the reason.
    Quoted(String),
    /// The value has the right form, but cannot be used. The text is the reason, after `invalid NAME "value": `.
    Because(String),
}

impl<V: Values> Row<V> {
    /// Returns the setting in the form that flags, help texts and documents use.
    pub(super) fn setting(&self, section: &'static str) -> Setting {
        Setting {
            env: self.env,
            section,
            help: self.help,
            details: self.details,
            expected: self.values.expected(),
            default: self.default,
            example: self.example,
            is_secret: self.values.is_secret(),
        }
    }
}
