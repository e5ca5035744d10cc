//! What can go wrong: for good, or until the next try.

use std::time::Duration;

/// Why a subscription ended for good. Everything else is tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be used.
    #[error("an address reads http://host:port (https, ws and wss too), got {address:?}: {problem}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// No connection can be made from this machine, to wherever: no certificates, say.
    #[error("no HTTP client can be made: {0}")]
    Setup(String),
    /// The server does not take the request, and would not the next time either.
    #[error("the server refused with HTTP {status}: {detail}")]
    Refused {
        /// The HTTP status: 400 where a parameter is wrong, 404 where nothing of that name is.
        status: u16,
        /// What the server says about it.
        detail: String,
    },
    /// Whatever answers there is no feed.
    #[error("there is no feed at this address: {problem}")]
    NoFeed {
        /// What came in place of a feed.
        problem: String,
    },
    /// The server has let this client go and does not want it back.
    #[error("the server closed with {code}: {reason}")]
    Closed {
        /// The WebSocket close code, from 4500 to 4999.
        code: u16,
        /// What the server says about it.
        reason: String,
    },
}

/// Why one connection is over, or was not made.
#[derive(Debug)]
pub(super) enum Failure {
    /// Worth another try.
    Passing {
        why: String,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The end.
    Final(Error),
}

impl Error {
    pub(super) fn refused(status: u16, detail: &str) -> Error {
        Error::Refused { status, detail: plain(detail) }
    }
}

impl Failure {
    pub(super) fn passing(why: impl Into<String>) -> Failure {
        Failure::Passing { why: plain(&why.into()), retry_after: None }
    }

    /// An answer that is in order, and nothing that a feed says.
    pub(super) fn no_feed(problem: &str) -> Failure {
        Failure::Final(Error::NoFeed { problem: plain(problem) })
    }

    /// An error of a library. What it comes from says best what is wrong; what stands around it tells how the library works.
    pub(super) fn caused(error: &(dyn std::error::Error + 'static)) -> Failure {
        let root = root(error);
        // A server that is stopped does so too, so it says nothing about what is there.
        if root.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return Failure::passing("the connection was closed without an answer");
        }
        Failure::passing(root.to_string())
    }

    /// A status with which a server refused: whether it would refuse the next time too depends on it.
    pub(super) fn refused(status: u16, detail: &str, retry_after: Option<Duration>) -> Failure {
        match status {
            // Satisfied, but with something else.
            200..=299 => Failure::no_feed(&format!("it answers HTTP {status} to a request for a stream")),
            // Timeout, too early, too many: another time it may work.
            300..=499 if !matches!(status, 408 | 425 | 429) => Failure::Final(Error::refused(status, detail)),
            _ => Failure::Passing { why: plain(&format!("HTTP {status}: {detail}")), retry_after },
        }
    }

    /// A close code (RFC 6455 §7.4). From 4500 on a server of ours says: do not come back.
    pub(super) fn closed(code: u16, reason: &str) -> Failure {
        let reason = plain(reason);
        match (code, reason.as_str()) {
            (4500..=4999, _) => Failure::Final(Error::Closed { code, reason }),
            (_, "") => Failure::passing(format!("the server closed with {code}")),
            (_, _) => Failure::passing(format!("the server closed with {code}: {reason}")),
        }
    }
}

/// What an error comes from.
pub(super) fn root<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

/// What a stranger wrote, fit to be printed: on one line, without the control characters that move a terminal's cursor,
/// and not endless.
fn plain(text: &str) -> String {
    const MOST: usize = 500;
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_refused_again_is_final_and_the_rest_is_not() {
        for status in [200, 204, 301, 400, 401, 403, 404, 405, 410, 426] {
            assert!(matches!(Failure::refused(status, "", None), Failure::Final(_)), "{status}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(matches!(Failure::refused(status, "", None), Failure::Passing { .. }), "{status}");
        }
        for (code, last) in [(1000, false), (1001, false), (1011, false), (4408, false), (4499, false), (4500, true)] {
            assert_eq!(matches!(Failure::closed(code, ""), Failure::Final(_)), last, "{code}");
        }
    }

    #[test]
    fn what_a_server_says_cannot_move_a_cursor_or_fill_a_screen() {
        let Failure::Passing { why, .. } = Failure::closed(1001, &format!("a\x1b[2Jb\r\n{}", "c".repeat(9999))) else {
            panic!("1001 is not final")
        };
        assert!(why.starts_with("the server closed with 1001: a [2Jb  cc") && why.len() < 600, "{why}");
    }
}
