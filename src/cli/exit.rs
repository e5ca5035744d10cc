//! Exit codes, and the message that explains one.

use crate::client::Error;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

/// The exit code for an invalid setting or argument, as shells and clap use it.
pub(super) const USAGE: u8 = 2;

/// Prints a message of one or more lines, and returns an exit code.
pub(super) fn with_message(code: u8, message: &str) -> ExitCode {
    for line in message.lines() {
        eprintln!("btcfeed: {line}");
    }
    ExitCode::from(code)
}

/// Prints invalid settings, one a line.
pub(super) fn with_errors(errors: &[String]) -> ExitCode {
    with_message(USAGE, &errors.join("\n"))
}

/// Prints an error with its causes, if there is one.
pub(super) fn with_result(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => with_message(1, &format!("{error:#}")),
    }
}

/// Returns the result of writing to standard output. It is no error if the reader has closed its end, as in
/// `btcfeed config | head`.
pub(super) fn unless_closed(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Returns the exit code for an error of the client. An error in the arguments has the code of invalid arguments, even
/// if the server found it.
pub(super) fn client_error_code(error: &Error) -> u8 {
    match error {
        Error::Address { .. } | Error::Refused { status: 400, .. } => USAGE,
        _ => 1,
    }
}
