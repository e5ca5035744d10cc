//! The settings as flags, and warnings about variables that look like settings but are not.

use crate::config::{
    DefaultValue, Lookup, Setting, UnknownVariable, environment_variables, settings, unknown_variables,
};
use clap::{Arg, ArgMatches};
use tracing::warn;

/// Returns the flags of the settings that are wanted.
pub(super) fn flags(is_wanted: impl Fn(&Setting) -> bool) -> impl Iterator<Item = Arg> {
    settings().iter().filter(move |setting| is_wanted(setting)).map(|setting| {
        let short = match setting.default {
            DefaultValue::Fixed(value) => format!("{} [default: {value}]", setting.help),
            DefaultValue::Derived(_) => setting.help.to_owned(),
        };
        Arg::new(setting.env)
            .long(setting.flag())
            .value_name("VALUE")
            .help_heading(setting.section)
            .help(short)
            .long_help(long_help(setting))
    })
}

fn long_help(setting: &Setting) -> String {
    let details = if setting.details.is_empty() { String::new() } else { format!(" {}", setting.details) };
    format!(
        "{}.{details}\n\nVariable: {}\nValue: {}\nDefault: {}\nExample: --{} {}",
        setting.help,
        setting.env,
        setting.expected,
        setting.default.as_str(),
        setting.flag(),
        setting.example
    )
}

/// Returns the values of these flags and of the environment.
pub(super) fn lookup(flags: &ArgMatches) -> Lookup {
    let flag = |setting: &Setting| {
        let value = flags.try_get_one::<String>(setting.env).ok().flatten()?;
        Some((setting.env.to_owned(), value.clone()))
    };
    Lookup::new(settings().iter().filter_map(flag), environment_variables())
}

/// Logs a warning for each variable that looks like a setting but is not.
pub(super) fn warn_of_unknown_variables(lookup: &Lookup) {
    for UnknownVariable { name, nearest } in unknown_variables(lookup) {
        // A field that is `None` is left out.
        warn!(variable = name, did_you_mean = nearest, "unknown variable");
    }
}
