//! Server-sent events (HTML Living Standard §9.2).

use bytes::Bytes;
use std::fmt::Display;

/// Writes an event. An event without a name is received by `onmessage` handlers. The client sends `id` back as
/// `Last-Event-ID`. `data` must not contain line breaks.
pub(crate) fn write_event(name: Option<&str>, id: Option<impl Display>, data: &str, to: &mut Vec<u8>) {
    if let Some(name) = name {
        to.extend_from_slice(format!("event: {name}\n").as_bytes());
    }
    if let Some(id) = id {
        to.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    to.extend_from_slice(b"data: ");
    to.extend_from_slice(data.as_bytes());
    to.extend_from_slice(b"\n\n");
}

/// Returns the field that sets the client's reconnection time.
pub(crate) fn retry(ms: u32) -> Bytes {
    Bytes::from(format!("retry: {ms}\n\n"))
}

/// Returns a comment, which keeps an idle stream open.
pub(crate) fn heartbeat() -> Bytes {
    Bytes::from_static(b": still here\n\n")
}

/// Returns the end offset of the event that contains byte `sent` of `events`, which are whole events.
pub(crate) fn message_end(events: &[u8], sent: usize) -> usize {
    let ended = |at: usize| events[..at].ends_with(b"\n\n");
    (sent..events.len()).find(|at| *at == 0 || ended(*at)).unwrap_or(events.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_has_a_name_and_an_id_only_if_given() {
        let mut bytes = Vec::new();
        write_event(None, Some(7), "{}", &mut bytes);
        write_event(Some("gap"), None::<u64>, "{}", &mut bytes);
        assert_eq!(String::from_utf8(bytes).unwrap(), "id: 7\ndata: {}\n\nevent: gap\ndata: {}\n\n");
    }
}
