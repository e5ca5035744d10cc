//! `btcfeed config`: all settings with the values in use, in the form of an `.env` file.

use super::exit;
use super::settings::flags;
use crate::config::{Config, DefaultValue, Lookup, redact_url, sections, unknown_variables};
use clap::Command;
use std::io::{self, Write};

const EXAMPLES: &str = "\
Examples:
  btcfeed config                         the values in use
  btcfeed config --interval 2s > .env    a file for docker-compose

Exit codes: 0 printed; 1 cannot print; 2 a setting or an argument is invalid.";

/// The arguments.
pub(super) fn command() -> Command {
    Command::new("config")
        .about("Print all settings with the values in use, without passwords")
        .after_long_help(EXAMPLES)
        .args(flags(|_| true))
}

/// Prints the settings, and on standard error the variables that look like settings but are not.
///
/// # Errors
/// If the settings cannot be written. A reader that has closed its end, as in `btcfeed config | head`, is no error.
pub(super) fn run(config: &Config, lookup: &Lookup) -> anyhow::Result<()> {
    for unknown in unknown_variables(lookup) {
        eprintln!("btcfeed: {unknown}");
    }
    exit::unless_closed(print(config, lookup, &mut io::stdout().lock()))
}

fn print(config: &Config, lookup: &Lookup, out: &mut impl Write) -> io::Result<()> {
    for (place, (section, settings)) in sections().enumerate() {
        let gap = if place == 0 { "" } else { "\n" };
        writeln!(out, "{gap}# --- {section} ---")?;
        for setting in settings {
            let given = lookup.value(setting.env);
            let value = config.effective(setting.env).or_else(|| given.clone());
            let value = value.or_else(|| setting.default.fixed().map(str::to_owned)).unwrap_or_default();
            let is_hidden = setting.is_secret && !value.is_empty();
            let printed = if is_hidden { "***".to_owned() } else { redact_url(&value) };
            // A line whose password is masked is commented out, because the mask is not the value. A default that
            // depends on other settings or on the machine is commented out, too. Otherwise a file with this line would
            // keep the old value when these change.
            let (note, comment) = match (setting.default, given) {
                _ if printed != value => (" (the password is not printed)".to_owned(), "# "),
                (DefaultValue::Derived(words), None) => (format!(" (default: {words})"), "# "),
                _ => (String::new(), ""),
            };
            writeln!(out, "\n# {}{note}\n{comment}{}={printed}", setting.help, setting.env)?;
        }
    }
    Ok(())
}
