//! The command line: one file for each subcommand.

mod arguments;
mod at;
mod check;
mod completions;
mod config;
mod demo;
mod exit;
mod format;
mod healthcheck;
mod key;
mod load;
mod runtime;
mod serve;
mod settings;
mod store;
mod terminal;
mod verify;
mod watch;

use crate::config::{Config, ConfigErrors};
use clap::builder::PossibleValuesParser;
use clap::{Arg, Command};
use std::ffi::OsString;
use std::process::ExitCode;

const ABOUT: &str = "A Bitcoin price feed whose clients miss no update when they reconnect";

/// The end of the long help of the program, and of `serve` and `demo`.
const AFTER_LONG_HELP: &str = "\
Each setting is a flag and a variable of the environment. A flag takes precedence over the variable.

Exit codes: 0 stopped; 1 failed; 2 a setting or an argument is invalid; 130 interrupted by a second signal.";

const EXAMPLES: &str = "\
Examples:
  btcfeed demo                                    the feed in one process, to try it
  btcfeed --redis-url redis://localhost           a replica that shares its feed with others
  btcfeed --listen localhost:8080 --interval 2s   one process, two seconds between prices
  btcfeed watch localhost:8080                    the prices in this terminal
  btcfeed config                                  the settings in use
  btcfeed completions bash > /etc/bash_completion.d/btcfeed";

const SERVE_EXAMPLES: &str = "\
Examples:
  btcfeed serve --redis-url redis://localhost     a replica that shares its feed with others
  btcfeed serve --listen localhost:8080           one process, reached from this machine only";

const DEMO_EXAMPLES: &str = "\
Examples:
  btcfeed demo                                    real prices, if an exchange gives a valid price
  btcfeed demo --sources simulated                simulated prices
  btcfeed demo --listen localhost:9000            on another port";

/// The settings that a demo does not read, because its feed is in its own memory and there is no other replica.
const NOT_IN_A_DEMO: [&str; 10] = [
    "REDIS_URL",
    "REDIS_URL_FILE",
    "BTCFEED_KEY_PREFIX",
    "BTCFEED_DATA",
    "BTCFEED_ROLE",
    "BTCFEED_REDIS_CA",
    "BTCFEED_REDIS_CERT",
    "BTCFEED_REDIS_KEY",
    "BTCFEED_REDIS_TIMEOUT",
    "BTCFEED_REDIS_MIN_ACKS",
];

/// Runs the program with these arguments, the first of which is its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    let program = arguments.peek().map(|name| name.to_string_lossy().into_owned());
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    let (name, flags) = matches.subcommand().unwrap_or(("serve", &matches));
    match name {
        "watch" => return watch::run(flags),
        "load" => return load::run(flags),
        "check" => return check::run(flags),
        "store" => return store::run(flags),
        "verify" => return verify::run(flags),
        "at" => return at::run(flags),
        "key" => return exit::with_result(key::run(flags)),
        "help" => return exit::with_result(help(flags.get_one::<String>("command"))),
        "completions" => return exit::with_result(completions::run(command(), flags)),
        _ => {}
    }
    let lookup = settings::lookup(flags);
    let lookup = if name == "demo" { lookup.without(&NOT_IN_A_DEMO) } else { lookup };
    let result = match name {
        "healthcheck" => Config::read_ops_listen(&lookup).map(healthcheck::run),
        "demo" => {
            Config::read(&lookup).map(|config| demo::run(config, &lookup, program.as_deref().unwrap_or("btcfeed")))
        }
        "config" => Config::read(&lookup).map(|config| config::run(&config, &lookup)),
        _ => Config::read(&lookup).map(|config| serve::run(&config, &lookup)),
    };
    result.map_or_else(|ConfigErrors(errors)| exit::with_errors(&errors), exit::with_result)
}

fn command() -> Command {
    let serve = Command::new("serve")
        .about("Serve the feed (the default)")
        .after_long_help(format!("{SERVE_EXAMPLES}\n\n{AFTER_LONG_HELP}"))
        .args(settings::flags(|_| true));
    let demo = Command::new("demo")
        .about("Serve the feed from memory, with simulated prices if no exchange gives a valid price")
        .after_long_help(format!("{DEMO_EXAMPLES}\n\n{AFTER_LONG_HELP}"))
        .args(settings::flags(|setting| !NOT_IN_A_DEMO.contains(&setting.env)));
    let subcommands = [
        serve,
        demo,
        watch::command(),
        at::command(),
        load::command(),
        healthcheck::command(),
        check::command(),
        config::command(),
        key::command(),
        store::command(),
        verify::command(),
        completions::command(),
    ];
    let names: Vec<_> = subcommands.iter().map(|command| command.get_name().to_owned()).collect();
    // clap's own `help` command has no `--help`, so this command replaces it.
    let help = Command::new("help").about("Print this help, or the help of a command").arg(
        Arg::new("command").value_name("COMMAND").help("The command").value_parser(PossibleValuesParser::new(names)),
    );
    Command::new("btcfeed")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .after_long_help(format!("{EXAMPLES}\n\n{AFTER_LONG_HELP}"))
        .args(settings::flags(|_| true))
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommands(subcommands)
        .subcommand(help)
}

/// Prints the long help of a command, or of the program.
fn help(name: Option<&String>) -> anyhow::Result<()> {
    let mut program = command();
    program.build();
    match name {
        Some(name) => program.find_subcommand_mut(name).map_or(Ok(()), Command::print_long_help)?,
        None => program.print_long_help()?,
    }
    Ok(())
}
