//! Frames of an HTTP/2 client (RFC 9113), also invalid ones.

/// Number of bytes that a server may send on each stream before the client opens its window further (RFC 9113 §6.9.2).
pub const DEFAULT_WINDOW: u32 = 65_535;
/// Types of frames (RFC 9113 §6).
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
/// Flags of HEADERS.
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

/// Returns the beginning of a connection, with windows of this size.
pub fn preface(window: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    // This sets SETTINGS_INITIAL_WINDOW_SIZE.
    frame(&mut bytes, SETTINGS, 0, 0, &[&[0, 4][..], &window.to_be_bytes()].concat());
    if window > DEFAULT_WINDOW {
        frame(&mut bytes, WINDOW_UPDATE, 0, 0, &(window - DEFAULT_WINDOW).to_be_bytes());
    }
    bytes
}

/// Adds a GET request for `path`, with these headers.
pub fn request(bytes: &mut Vec<u8>, stream: u32, path: &str, headers: &[(&str, &str)]) {
    frame(bytes, HEADERS, END_STREAM | END_HEADERS, stream, &fields(path, headers));
}

/// Returns the header block of a GET request.
pub fn fields(path: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    // `:method: GET` and `:scheme: http` are in the static table. The host and the path are literals with names of that
    // table (RFC 7541).
    let mut fields = vec![0x82, 0x86];
    for (name, value) in [(1, "x"), (4, path)] {
        fields.push(name);
        text(&mut fields, value);
    }
    for (name, value) in headers {
        fields.push(0);
        text(&mut fields, name);
        text(&mut fields, value);
    }
    fields
}

/// Adds a text with its length (RFC 7541 §5.2).
pub fn text(fields: &mut Vec<u8>, text: &str) {
    match text.len() {
        short @ ..127 => fields.push(short.to_le_bytes()[0]),
        long => {
            fields.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                fields.push(rest.to_le_bytes()[0] | 128);
                rest >>= 7;
            }
            fields.push(rest.to_le_bytes()[0]);
        }
    }
    fields.extend(text.as_bytes());
}

/// Adds a frame.
pub fn frame(bytes: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    bytes.extend(&payload.len().to_be_bytes()[5..]);
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
}
