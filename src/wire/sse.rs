//! Server-sent events (HTML Living Standard §9.2).

use bytes::Bytes;
use std::fmt::Display;
use std::io::Write;

/// Writes an event with the data that `write_data` writes. The data must not contain line breaks. Only events without a
/// name reach `onmessage` handlers. When the client reconnects, it sends the last `id` as `Last-Event-ID`.
pub(crate) fn write_event(
    name: Option<&str>,
    id: Option<impl Display>,
    to: &mut Vec<u8>,
    write_data: impl FnOnce(&mut Vec<u8>),
) {
    // Writing to a Vec cannot fail.
    if let Some(name) = name {
        writeln!(to, "event: {name}").ok();
    }
    if let Some(id) = id {
        writeln!(to, "id: {id}").ok();
    }
    to.extend_from_slice(b"data: ");
    write_data(to);
    to.extend_from_slice(b"\n\n");
}

/// Returns the field that sets the time in milliseconds after which the client reconnects.
pub(crate) fn retry(ms: u32) -> Bytes {
    Bytes::from(format!("retry: {ms}\n\n"))
}

/// Returns a comment, which keeps an idle stream open.
pub(crate) fn heartbeat() -> Bytes {
    Bytes::from_static(b": still here\n\n")
}

/// Returns `sent` if the first `sent` bytes are whole events. Otherwise they end inside an event, and this function
/// returns the offset at which that event ends. `events` must be whole events.
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
        let data = |to: &mut Vec<u8>| to.extend_from_slice(b"{}");
        write_event(None, Some(7), &mut bytes, data);
        write_event(Some("gap"), None::<u64>, &mut bytes, data);
        assert_eq!(String::from_utf8(bytes).unwrap(), "id: 7\ndata: {}\n\nevent: gap\ndata: {}\n\n");
    }
}
