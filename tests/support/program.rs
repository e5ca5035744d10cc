//! The btcfeed program.

use tokio::process::Command;

/// Returns a command that runs btcfeed without the environment of this process. The program trusts one certificate
/// authority and not those of the system, because a build without optimisation needs long to read them all.
pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btcfeed"));
    clear_environment(&mut command);
    command
}

/// Removes the environment of this process from a command that runs btcfeed, and adds the certificate authority. The
/// program is killed when its `Child` is dropped.
pub fn clear_environment(command: &mut Command) {
    command.env_clear().env("SSL_CERT_FILE", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/authority.pem"));
    command.kill_on_drop(true);
}
