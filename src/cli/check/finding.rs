//! The finding of a check, and the output of all findings.

use serde::Serialize;
use std::io::{self, Write};

/// Outcome of a check. The worst one decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// Nothing is wrong.
    Ok,
    /// The feed works, but something may go wrong later.
    Warn,
    /// The feed does not work, or it will lose entries or clients.
    Fail,
}

/// The result of a check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    /// The name of the check, which is also its heading in `docs/check.md`.
    check: &'static str,
    pub(super) outcome: Outcome,
    found: String,
    /// The instructions, if something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
    link: String,
}

impl Finding {
    fn new(check: &'static str, outcome: Outcome, found: impl Into<String>, remedy: Option<&'static str>) -> Finding {
        Finding { check, outcome, found: found.into(), remedy, link: format!("docs/check.md#{check}") }
    }

    pub(super) fn ok(check: &'static str, found: impl Into<String>) -> Finding {
        Finding::new(check, Outcome::Ok, found, None)
    }

    pub(super) fn warn(check: &'static str, found: impl Into<String>, remedy: &'static str) -> Finding {
        Finding::new(check, Outcome::Warn, found, Some(remedy))
    }

    pub(super) fn fail(check: &'static str, found: impl Into<String>, remedy: &'static str) -> Finding {
        Finding::new(check, Outcome::Fail, found, Some(remedy))
    }
}

/// Returns the worst outcome of all findings.
pub(super) fn worst(findings: &[Finding]) -> Outcome {
    findings.iter().map(|finding| finding.outcome).max().unwrap_or(Outcome::Ok)
}

/// Prints the findings, as text or as one JSON object.
pub(super) fn print(findings: &[Finding], json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        let report = serde_json::json!({"result": worst(findings), "checks": findings});
        return writeln!(out, "{report:#}");
    }
    for Finding { check, outcome, found, remedy, link } in findings {
        let word = match outcome {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "fail",
        };
        writeln!(out, "{word:<5} {check:<18} {found}")?;
        if let Some(remedy) = remedy {
            writeln!(out, "{:<24} {remedy} ({link})", "")?;
        }
    }
    Ok(())
}
