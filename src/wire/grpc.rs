//! Length-prefixed messages of gRPC (gRPC over HTTP2, "Length-Prefixed-Message"): a byte that is 1 if the message is
//! compressed and otherwise 0, the length in four bytes, and the message.

use bytes::{Buf, Bytes};

/// Writes `message` after its prefix.
pub(crate) fn write_message(message: &[u8], to: &mut Vec<u8>) {
    to.push(0);
    to.extend_from_slice(&u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend_from_slice(message);
}

/// Returns the messages in `bytes` without their prefixes.
pub(crate) fn messages(mut bytes: Bytes) -> Vec<Bytes> {
    let mut messages = Vec::new();
    while let Some(&[_, a, b, c, d]) = bytes.first_chunk() {
        bytes.advance(5);
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        messages.push(bytes.split_to(len.min(bytes.len())));
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_back() {
        let mut bytes = Vec::new();
        write_message(b"hello", &mut bytes);
        write_message(b"", &mut bytes);
        assert_eq!(bytes[..5], [0, 0, 0, 0, 5]);
        let bytes = Bytes::from(bytes);
        assert_eq!(messages(bytes.clone()), [&b"hello"[..], b""]);
        assert!(messages(bytes.slice(..4)).is_empty());
    }
}
