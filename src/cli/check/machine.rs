//! Checks of this machine and of the certificate.

use super::finding::Finding;
use crate::cli::runtime::raise_file_limit;
use crate::config::Config;
use crate::server::CertificateWarning;
use std::fs;

/// Limit on open files below which there is a warning, because a replica can serve only few clients.
const FEW_FILES: u64 = 10_000;
/// Length of the accept queue below which there is a warning, because many clients that reconnect at once have to wait.
const SHORT_QUEUE: u64 = 4096;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let queue = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    vec![files(config), somaxconn(&queue), certificate(config)]
}

fn files(config: &Config) -> Finding {
    let clients = config.server.max_connections as u64;
    let Some(limit) = raise_file_limit() else { return Finding::ok("open-files", "no limit") };
    let found = format!("at most {limit} open files and {clients} clients");
    let remedy = "Raise the limit (LimitNOFILE, ulimits, ulimit -Hn) to the expected number of clients plus 256.";
    // `Config::read` has already rejected a `BTCFEED_MAX_CONNECTIONS` that is too high for this limit.
    if limit < FEW_FILES { Finding::warn("open-files", found, remedy) } else { Finding::ok("open-files", found) }
}

/// `text` is the content of `/proc/sys/net/core/somaxconn`.
fn somaxconn(text: &str) -> Finding {
    match text.trim().parse::<u64>() {
        Ok(length) if length < SHORT_QUEUE => Finding::warn(
            "somaxconn",
            format!("net.core.somaxconn is {length}"),
            "Set it to 4096 or more. Otherwise thousands of clients that reconnect at once wait for seconds.",
        ),
        Ok(length) => Finding::ok("somaxconn", format!("net.core.somaxconn is {length}")),
        Err(_) => Finding::ok("somaxconn", "not known on this system"),
    }
}

fn certificate(config: &Config) -> Finding {
    let Some(tls) = &config.server.tls else { return Finding::ok("certificate", "not used: plain HTTP") };
    let file = tls.certificate.display();
    let renew = "Renew it. The new one is used without a restart.";
    match tls.warning() {
        Ok((Some(CertificateWarning::Expired(_)), _)) => {
            Finding::fail("certificate", format!("{file} has expired"), renew)
        }
        Ok((Some(CertificateWarning::NotYet), _)) => Finding::fail(
            "certificate",
            format!("{file} is not valid yet"),
            "Correct the clock of this machine, or use another certificate.",
        ),
        Ok((Some(CertificateWarning::Soon(days)), _)) => {
            Finding::warn("certificate", format!("{file} expires in {days} days"), renew)
        }
        Ok((None, days)) => Finding::ok("certificate", format!("{file} is valid for {days} more days")),
        Err(error) => {
            Finding::fail("certificate", format!("{file}: {error}"), "Correct BTCFEED_TLS_CERT and BTCFEED_TLS_KEY.")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::finding::Outcome;

    #[test]
    fn short_accept_queue_is_a_warning() {
        let outcome = |text| somaxconn(text).outcome;
        assert_eq!(
            ["4096\n", "4095\n", "128\n", ""].map(outcome),
            [Outcome::Ok, Outcome::Warn, Outcome::Warn, Outcome::Ok]
        );
    }
}
