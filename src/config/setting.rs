//! A setting, as the flags, help texts and documents show it.

/// A value that the operator sets by an environment variable, or by the flag that [`flag`](Self::flag) derives from it.
#[derive(Clone, Debug)]
pub struct Setting {
    /// The variable.
    pub env: &'static str,
    /// The heading under which it is listed.
    pub section: &'static str,
    /// A description in one line, without a full stop.
    pub help: &'static str,
    /// More about it, in whole sentences. May be empty.
    pub details: &'static str,
    /// A description of the accepted values.
    pub expected: String,
    /// The default.
    pub default: DefaultValue,
    /// An example of a value, for documents and help texts.
    pub example: &'static str,
    /// True if a value must not be shown.
    pub is_secret: bool,
}

/// The default of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// This value.
    Fixed(&'static str),
    /// A value that depends on other settings or on this machine, described in words.
    Derived(&'static str),
}

impl DefaultValue {
    /// Returns the value, if it is always the same.
    pub fn fixed(self) -> Option<&'static str> {
        match self {
            DefaultValue::Fixed(value) => Some(value),
            DefaultValue::Derived(_) => None,
        }
    }

    /// Returns the value or its description.
    pub fn as_str(self) -> &'static str {
        let (DefaultValue::Fixed(text) | DefaultValue::Derived(text)) = self;
        text
    }
}

impl Setting {
    /// Returns the name of the flag without the leading `--`: the variable without `BTCFEED_`, in lower case, with
    /// dashes for underscores.
    pub fn flag(&self) -> String {
        flag(self.env)
    }
}

/// Returns the name of the flag for a variable.
pub(super) fn flag(env: &str) -> String {
    env.trim_start_matches("BTCFEED_").to_ascii_lowercase().replace('_', "-")
}
