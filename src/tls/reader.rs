//! Cuts the bytes of a client into TLS records (RFC 8446 §5.1). The bytes may arrive in pieces of any size. A record
//! that arrives whole is not copied. The beginning of an incomplete one is kept until its rest arrives.

use super::fault::Fault;
use std::ops::RangeInclusive;
use tokio_rustls::rustls::AlertDescription;

/// Length of a record's header.
pub(super) const HEADER_BYTES: usize = 5;
/// Maximum length of an encrypted record without its header (RFC 8446 §5.2).
const MAX_PAYLOAD_BYTES: usize = 16 * 1024 + 256;

/// The types of records: change of ciphers, alert, handshake and data.
const TYPES: RangeInclusive<u8> = 20..=23;

/// Returns the length of the record at the beginning of `bytes`, or `None` if more bytes are needed.
///
/// # Errors
/// If the record has an unknown type, or is too long.
pub(super) fn record_bytes(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    if !TYPES.contains(&header[0]) {
        return Err(Fault::Broken(AlertDescription::UnexpectedMessage));
    }
    let payload = usize::from(u16::from_be_bytes([header[3], header[4]]));
    if payload > MAX_PAYLOAD_BYTES {
        return Err(Fault::Broken(AlertDescription::RecordOverflow));
    }
    Ok(Some(HEADER_BYTES + payload))
}

/// Beginning of a record whose rest has not arrived. It owns no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct RecordReader {
    partial: Vec<u8>,
}

impl RecordReader {
    /// Returns the memory of the incomplete record.
    pub(super) fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Calls `open` for each record that is complete, in order. `open` may change the record.
    ///
    /// # Errors
    /// Like [`record_bytes`], or the error of `open`.
    pub(super) fn read(
        &mut self,
        mut bytes: &mut [u8],
        open: &mut dyn FnMut(&mut [u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        while !bytes.is_empty() {
            if self.partial.is_empty()
                && let Some(len) = record_bytes(bytes)?
                && len <= bytes.len()
            {
                let (record, rest) = bytes.split_at_mut(len);
                open(record)?;
                bytes = rest;
                continue;
            }
            let target = record_bytes(&self.partial)?.unwrap_or(HEADER_BYTES);
            let (more, rest) = bytes.split_at_mut(bytes.len().min(target - self.partial.len()));
            self.partial.reserve_exact(more.len());
            self.partial.extend_from_slice(more);
            bytes = rest;
            if record_bytes(&self.partial)? == Some(self.partial.len()) {
                open(&mut std::mem::take(&mut self.partial))?;
            }
        }
        Ok(())
    }
}

/// Reads `input` as records, and checks that the result does not depend on the pieces in which they arrive.
///
/// # Panics
/// If the result depends on the pieces, or if more memory is used than a record needs.
#[cfg(any(test, fuzzing))]
pub(super) fn check(input: &[u8], pieces: &[u8]) {
    let read = |pieces: &mut dyn Iterator<Item = usize>| {
        let (mut reader, mut records, mut rest) = (RecordReader::default(), Vec::new(), &mut input.to_vec()[..]);
        while !rest.is_empty() {
            let (piece, others) = rest.split_at_mut(pieces.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
            rest = others;
            let read = reader.read(piece, &mut |record| {
                records.push(record.to_vec());
                Ok(())
            });
            assert!(reader.held_bytes() <= HEADER_BYTES + MAX_PAYLOAD_BYTES);
            if let Err(fault) = read {
                return (records, Some(fault));
            }
        }
        records.push(reader.partial);
        (records, None)
    };
    let whole = read(&mut std::iter::empty());
    let in_pieces = read(&mut pieces.iter().map(|len| usize::from(*len)).cycle().take(input.len()));
    assert_eq!(whole, in_pieces);
    let total: usize = whole.0.iter().map(Vec::len).sum();
    assert!(if whole.1.is_some() { total < input.len() } else { total == input.len() });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(len: u16) -> Vec<u8> {
        let mut record = vec![23, 3, 3];
        record.extend(len.to_be_bytes());
        record.resize(HEADER_BYTES + usize::from(len), 7);
        record
    }

    proptest! {
        #[test]
        fn records_do_not_depend_on_pieces(
            lens in prop::collection::vec(prop_oneof![0..40_u16, 16_000..16_800_u16], 1..6),
            end in any::<prop::sample::Index>(),
            pieces in prop::collection::vec(any::<u8>(), 1..20),
        ) {
            let bytes: Vec<u8> = lens.iter().flat_map(|len| record(*len)).collect();
            check(&bytes, &[]);
            check(&bytes[..end.index(bytes.len())], &pieces);
        }
    }

    #[test]
    fn longest_record_is_read_and_no_longer_one() {
        let longest = u16::try_from(MAX_PAYLOAD_BYTES).unwrap();
        let mut reader = RecordReader::default();
        let mut seen = 0;
        let mut open = |record: &mut [u8]| {
            seen += record.len();
            Ok(())
        };
        reader.read(&mut record(longest), &mut open).unwrap();
        // The length in the header is enough to reject a record.
        let refused = reader.read(&mut record(longest + 1)[..HEADER_BYTES], &mut open);
        assert_eq!(refused, Err(Fault::Broken(AlertDescription::RecordOverflow)));
        assert_eq!(seen, HEADER_BYTES + MAX_PAYLOAD_BYTES);
    }

    #[test]
    fn memory_is_freed_when_a_record_is_complete() {
        let mut reader = RecordReader::default();
        let mut bytes = record(5000);
        let (begin, end) = bytes.split_at_mut(4000);
        reader.read(begin, &mut |_| panic!("the record is not complete")).unwrap();
        assert!((4000..6000).contains(&reader.held_bytes()));
        let mut lens = Vec::new();
        let mut open = |record: &mut [u8]| {
            lens.push(record.len());
            Ok(())
        };
        reader.read(end, &mut open).unwrap();
        assert_eq!(lens, [5005]);
        assert_eq!(reader.held_bytes(), 0);
    }
}
