//! `btcfeed completions`: a script that completes commands and flags in a shell.

use anyhow::Context;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use clap_complete::Shell;
use std::io::{self, Write};

const SHELLS: [(&str, Shell); 3] = [("bash", Shell::Bash), ("zsh", Shell::Zsh), ("fish", Shell::Fish)];

const EXAMPLES: &str = "\
Examples:
  btcfeed completions bash > /etc/bash_completion.d/btcfeed
  btcfeed completions zsh > \"${fpath[1]}/_btcfeed\"
  btcfeed completions fish > ~/.config/fish/completions/btcfeed.fish

Exit codes: 0 printed; 1 cannot print; 2 an argument is invalid.";

/// The arguments.
pub(super) fn command() -> Command {
    let shells = PossibleValuesParser::new(SHELLS.map(|(name, _)| name));
    Command::new("completions")
        .about("Print a script that completes commands and flags in a shell")
        .after_long_help(EXAMPLES)
        .arg(Arg::new("shell").value_name("SHELL").required(true).help("The shell").value_parser(shells))
}

/// Prints the script that completes `program` in a shell.
///
/// # Errors
/// If it cannot be written.
pub(super) fn run(mut program: Command, flags: &ArgMatches) -> anyhow::Result<()> {
    let name = flags.get_one::<String>("shell").context("no shell")?;
    let (_, shell) = SHELLS.into_iter().find(|(known, _)| known == name).context("unknown shell")?;
    // The script is written to memory first, because the library panics if its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program, "btcfeed", &mut script);
    io::stdout().lock().write_all(&script)?;
    Ok(())
}
