//! The given values of settings: flags first, then the environment.

use super::setting::flag;
use std::collections::BTreeMap;

/// The flags and the environment of this process. They may contain passwords, so this type cannot be printed.
#[derive(Default)]
pub struct Lookup {
    /// The values of flags. The key is the variable of the same setting.
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
}

/// A value that was given for a setting.
pub(super) struct NamedValue {
    pub(super) text: String,
    /// The flag or the variable.
    pub(super) name: String,
}

impl Lookup {
    /// Creates a lookup. A value in `flags` takes precedence over one in `environment`. The keys of `flags` are the
    /// variables of the settings.
    pub fn new(
        flags: impl IntoIterator<Item = (String, String)>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Lookup {
        Lookup { flags: flags.into_iter().collect(), environment: environment.into_iter().collect() }
    }

    /// Returns a lookup that does not find these settings.
    #[must_use]
    pub fn without(mut self, variables: &[&str]) -> Lookup {
        for variable in variables {
            self.flags.remove(*variable);
            self.environment.remove(*variable);
        }
        self
    }

    /// Returns the names of all variables of the environment.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.environment.keys().map(String::as_str)
    }

    /// Returns the value of a setting, trimmed. An empty value, as in a line `NAME=` of an `.env` file, counts as no
    /// value.
    pub fn value(&self, env: &str) -> Option<String> {
        self.find(env).map(|found| found.text)
    }

    pub(super) fn find(&self, env: &str) -> Option<NamedValue> {
        let (text, name) = match self.flags.get(env) {
            Some(text) => (text, format!("--{}", flag(env))),
            None => (self.environment.get(env)?, env.to_owned()),
        };
        let text = text.trim().to_owned();
        (!text.is_empty()).then_some(NamedValue { text, name })
    }
}

/// Returns the value of a variable of the environment, if it is valid UTF-8.
#[expect(clippy::disallowed_methods, reason = "the environment is read here")]
pub fn environment(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// Returns all variables of the environment that are valid UTF-8.
pub fn environment_variables() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
