//! The command line: one file a subcommand.

mod arguments;
mod config;
mod demo;
mod healthcheck;
mod load;
mod serve;
mod watch;
mod words;

use crate::config::{Config, SETTINGS};
use clap::{Arg, ArgMatches, Command};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::process::ExitCode;
use tracing::warn;

/// The exit code for a command line or a setting that cannot be used (sysexits' `EX_USAGE` is 64; shells and clap use 2).
const USAGE: u8 = 2;

/// Runs the program with these arguments, the first of which is its own name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let matches = match command().try_get_matches_from(arguments) {
        Ok(matches) => matches,
        Err(error) => error.exit(),
    };
    let (name, flags) = matches.subcommand().unwrap_or(("serve", &matches));
    // These serve nothing, so none of the settings below concern them.
    match name {
        "watch" => return watch::run(flags),
        "load" => return load::run(flags),
        _ => {}
    }
    let given = |variable: &str| given(flags, variable);
    let config = match Config::read(given) {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in mistakes.0 {
                eprintln!("btcfeed: {mistake}");
            }
            return ExitCode::from(USAGE);
        }
    };
    let result = match name {
        "demo" => demo::run(config, &given),
        "healthcheck" => healthcheck::run(&config),
        "config" => config::run(&config, &given),
        _ => serve::run(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("btcfeed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What a variable was set to: by its flag, or else in the environment.
fn given(flags: &ArgMatches, variable: &str) -> Option<String> {
    let flag = flags.try_get_one::<String>(variable).ok().flatten();
    flag.cloned().or_else(|| crate::config::environment(variable))
}

fn command() -> Command {
    let serve = Command::new("serve").about("Serve the feed (the default)").args(settings());
    let demo = Command::new("demo")
        .about("Serve the feed from memory, with a simulated market if no exchange answers, and say what to open")
        .args(settings());
    let healthcheck = Command::new("healthcheck")
        .about("Ask a running replica on BTCFEED_OPS_LISTEN whether it is ready; exit code 0 if it is")
        .args(settings());
    let config = Command::new("config").about("Print every setting as it would be used").args(settings());
    Command::new("btcfeed")
        .version(env!("CARGO_PKG_VERSION"))
        .about("A Bitcoin price feed that never loses an update")
        .after_help("Every flag has a variable of the environment; flags win. Exit codes: 0 stopped cleanly, 1 failed, 2 wrong setting.")
        .args(settings())
        .args_conflicts_with_subcommands(true)
        .subcommands([serve, demo, watch::command(), load::command(), healthcheck, config])
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
