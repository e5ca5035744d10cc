//! Reads settings one by one and collects all errors.

use super::lookup::Lookup;
use super::row::{Rejected, Row, Values};

/// All invalid settings, one line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(pub Vec<String>);

/// Reads settings. If a value is invalid, the error is recorded and the default is used, so that the other settings can
/// be checked too.
pub(super) struct Reader<'a> {
    lookup: &'a Lookup,
    errors: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(lookup: &'a Lookup) -> Reader<'a> {
        Reader { lookup, errors: Vec::new() }
    }

    /// Returns the errors, if there are any.
    pub(super) fn finish(self) -> Result<(), ConfigErrors> {
        if self.errors.is_empty() { Ok(()) } else { Err(ConfigErrors(self.errors)) }
    }

    /// Returns whether a value was given for a setting, valid or not.
    pub(super) fn is_given<V: Values>(&self, row: &Row<V>) -> bool {
        self.lookup.find(row.env).is_some()
    }

    /// Returns the value of a setting with a fixed default.
    pub(super) fn value<V: Values>(&mut self, row: &Row<V>) -> V::Value {
        let default = || row.default.fixed().and_then(|text| row.values.parse(text).ok());
        self.lookup(row).or_else(default).expect("the default of this setting is fixed and valid")
    }

    /// Returns the value of a setting, if a valid one was given.
    pub(super) fn lookup<V: Values>(&mut self, row: &Row<V>) -> Option<V::Value> {
        let found = self.lookup.find(row.env)?;
        match row.values.parse(&found.text) {
            Ok(value) => return Some(value),
            Err(Rejected::Unexpected) => self.reject(row, &row.values.expected()),
            Err(Rejected::Part(part)) => {
                self.errors.push(format!("invalid {} {part:?}: expected {}", found.name, row.values.expected()));
            }
            Err(Rejected::Quoted(reason)) => self.errors.push(format!("invalid {} {reason}", found.name)),
            Err(Rejected::Because(reason)) => {
                let shown = row.values.redact(&found.text);
                self.errors.push(format!("invalid {} {shown:?}: {reason}", found.name));
            }
        }
        None
    }

    /// Records that the value of a setting has the right form but cannot be used, with the reason.
    pub(super) fn reject_because<V: Values>(&mut self, row: &Row<V>, reason: &str) {
        if let Some(found) = self.lookup.find(row.env) {
            self.errors.push(format!("invalid {} {:?}: {reason}", found.name, row.values.redact(&found.text)));
        }
    }

    /// Records that a setting of an earlier version was given. `replacement` is the setting to use in its place.
    pub(super) fn reject_removed(&mut self, env: &str, replacement: &str) {
        if let Some(found) = self.lookup.find(env) {
            let text = found.text;
            self.errors.push(format!("invalid {env} {text:?}: this setting has been replaced, expected {replacement}"));
        }
    }

    /// Records that the value of a setting is not accepted, and what is expected instead.
    pub(super) fn reject<V: Values>(&mut self, row: &Row<V>, expected: &str) {
        let found = self.lookup.find(row.env);
        let default = || (row.default.as_str().to_owned(), row.env.to_owned());
        let (text, name) = found.map_or_else(default, |found| (found.text, found.name));
        self.errors.push(format!("invalid {name} {:?}: expected {expected}", row.values.redact(&text)));
    }
}
