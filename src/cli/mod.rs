//! The command line: one file a subcommand.

mod arguments;
mod config;
mod demo;
mod healthcheck;
mod load;
mod serve;
mod watch;
mod words;

use crate::config::{Config, Mistakes, SETTINGS};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::ExitCode;
use tracing::warn;

/// The exit code for a command line or a setting that cannot be used (sysexits' `EX_USAGE` is 64; shells and clap use 2).
const USAGE: u8 = 2;

/// The end of the help of what serves.
const SERVED: &str = "\
Every flag has a variable of the environment; flags win.

Exit codes: 0 stopped cleanly; 1 failed; 2 a setting or an argument is wrong; 130 ended at once by a second signal.";

/// What a demo has no use for: its feed is in its own memory, and it does all of the work.
const NOT_OF_A_DEMO: [&str; 3] = ["REDIS_URL", "BTCFEED_KEY_PREFIX", "BTCFEED_ROLE"];

/// Runs the program with these arguments, the first of which is its own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut arguments = arguments.into_iter().peekable();
    let program = arguments.peek().map(|name| name.to_string_lossy().into_owned());
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    let (name, flags) = matches.subcommand().unwrap_or(("serve", &matches));
    let given = |variable: &str| {
        let concerns = name != "demo" || !NOT_OF_A_DEMO.contains(&variable);
        concerns.then(|| given(flags, variable)).flatten()
    };
    let result = match name {
        // These serve nothing, so few or none of the settings concern them.
        "watch" => return watch::run(flags),
        "load" => return load::run(flags),
        "help" => help(flags.get_one::<String>("command")),
        "healthcheck" => match Config::read_ops_listen(given) {
            Ok(ops_listen) => healthcheck::run(ops_listen),
            Err(mistakes) => return told(mistakes),
        },
        _ => match Config::read(given) {
            Ok(config) if name == "demo" => demo::run(config, &given, program.as_deref().unwrap_or("btcfeed")),
            Ok(config) if name == "config" => config::run(&config, &given),
            Ok(config) => serve::run(&config),
            Err(mistakes) => return told(mistakes),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("btcfeed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn told(mistakes: Mistakes) -> ExitCode {
    for mistake in mistakes.0 {
        eprintln!("btcfeed: {mistake}");
    }
    ExitCode::from(USAGE)
}

/// What a variable was set to: by its flag, or else in the environment.
fn given(flags: &ArgMatches, variable: &str) -> Option<String> {
    let flag = flags.try_get_one::<String>(variable).ok().flatten();
    flag.cloned().or_else(|| crate::config::environment(variable))
}

fn command() -> Command {
    let serve = Command::new("serve").about("Serve the feed (the default)").after_help(SERVED).args(settings());
    let demo = Command::new("demo")
        .about("Serve the feed from memory, with a simulated market if no exchange answers, and say what to open")
        .after_help(SERVED)
        .args(settings().filter(|setting| !NOT_OF_A_DEMO.contains(&setting.get_id().as_str())));
    let healthcheck = Command::new("healthcheck")
        .about("Ask the replica on this machine whether it is ready")
        .after_help(
            "Exit codes: 0 it is ready; 1 it is not, or does not answer; 2 the setting or an argument is wrong.",
        )
        .args(settings().filter(|setting| setting.get_id() == "BTCFEED_OPS_LISTEN"));
    let config = Command::new("config")
        .about("Print every setting as it would be used")
        .after_help("Exit codes: 0 printed; 1 it cannot be written; 2 a setting or an argument is wrong.")
        .args(settings());
    let subcommands = [serve, demo, watch::command(), load::command(), healthcheck, config];
    let names: Vec<_> = subcommands.iter().map(|command| command.get_name().to_owned()).collect();
    // In place of clap's, which has no help of its own.
    let help = Command::new("help").about("Print this help, or that of a command").arg(
        Arg::new("command").value_name("COMMAND").help("The command").value_parser(PossibleValuesParser::new(names)),
    );
    Command::new("btcfeed")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Bitcoin price feed that never loses an update")
        .after_help(SERVED)
        .args(settings())
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .subcommands(subcommands)
        .subcommand(help)
}

/// Prints the help of a command, or of all.
fn help(of: Option<&String>) -> anyhow::Result<()> {
    let mut all = command();
    all.build();
    match of {
        Some(name) => all.find_subcommand_mut(name).map_or(Ok(()), Command::print_help)?,
        None => all.print_help()?,
    }
    Ok(())
}

fn settings() -> impl Iterator<Item = Arg> {
    SETTINGS.iter().map(|setting| {
        let default = setting.default.map(|default| format!(", {default} if not set")).unwrap_or_default();
        let help = format!("{} [{}{default}]", setting.help, setting.env);
        Arg::new(setting.env).long(setting.flag()).value_name("VALUE").help(help)
    })
}

/// Runs `work` on as many threads as there are cores, or as `TOKIO_WORKER_THREADS` says.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(work);
    // A look-up of a name that hangs would otherwise keep the process alive.
    runtime.shutdown_background();
    result
}

/// Variables that look like settings and are none: a misspelt one would otherwise be met with silence.
fn unknown_variables() -> impl Iterator<Item = String> {
    let known: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.env).collect();
    crate::config::environment_names()
        .filter(move |name| name.starts_with("BTCFEED_") && !known.contains(name.as_str()))
}

/// Warns of them in the log.
fn warn_of_unknown_variables() {
    for variable in unknown_variables() {
        warn!(variable, "there is no such setting");
    }
}
