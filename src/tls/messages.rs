//! Meaning of the records that a client sends after its handshake: data, alerts and key updates (RFC 8446 §4.6, §6).

use super::fault::Fault;
#[cfg(any(test, fuzzing))]
use super::reader::{HEADER_BYTES, RecordReader};
use arrayvec::ArrayVec;
use tokio_rustls::rustls::{AlertDescription, ContentType};

/// A `KeyUpdate` message without its last byte: the type, and the length of the body (RFC 8446 §4.6.3).
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
/// Maximum number of consecutive records without data. Other libraries have the same limit on key updates.
const MAX_FRUITLESS: u8 = 32;
/// Level of an alert that does not end a TLS 1.2 connection. TLS 1.3 ignores the level.
const WARNING: u8 = 1;

/// What a record means for the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The record is data of the client.
    Data,
    /// The client uses new keys from the next record on.
    KeyUpdate {
        /// True if the server must use new keys, too.
        answer: bool,
    },
    /// The client sends nothing more.
    End,
    /// Nothing has to be done.
    Nothing,
}

/// State that is kept from one record to the next.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Beginning of a key update whose rest has not arrived yet.
    key_update: ArrayVec<u8, 5>,
    /// The number of records since the last one with data.
    fruitless: u8,
}

impl Messages {
    /// Interprets a decrypted record.
    ///
    /// # Errors
    /// If the client broke the protocol, sent an alert that ends the connection, or sends too much that is not data.
    pub(super) fn receive(&mut self, kind: ContentType, payload: &[u8], is_tls13: bool) -> Result<Meaning, Fault> {
        // Nothing may come between the records of one message (RFC 8446 §5.1).
        if !self.key_update.is_empty() && kind != ContentType::Handshake {
            return Err(Fault::Broken(AlertDescription::UnexpectedMessage));
        }
        if kind == ContentType::ApplicationData && !payload.is_empty() {
            self.fruitless = 0;
            return Ok(Meaning::Data);
        }
        self.fruitless += 1;
        if self.fruitless > MAX_FRUITLESS {
            return Err(Fault::Broken(AlertDescription::UnexpectedMessage));
        }
        match kind {
            ContentType::ApplicationData => Ok(Meaning::Nothing),
            ContentType::Alert => alert(payload, is_tls13),
            // After the handshake, a client without a certificate sends a handshake message only to update its keys. In
            // TLS 1.2, such a message could only begin a new handshake, which no client needs.
            ContentType::Handshake if is_tls13 && !payload.is_empty() => self.handshake(payload),
            _ => Err(Fault::Broken(AlertDescription::UnexpectedMessage)),
        }
    }

    fn handshake(&mut self, payload: &[u8]) -> Result<Meaning, Fault> {
        // A key update is the last message before new keys, so it ends its record.
        let unexpected = Fault::Broken(AlertDescription::UnexpectedMessage);
        self.key_update.try_extend_from_slice(payload).map_err(|_| unexpected)?;
        let known = self.key_update.len().min(KEY_UPDATE.len());
        if self.key_update[..known] != KEY_UPDATE[..known] {
            return Err(unexpected);
        }
        let Some(request) = self.key_update.get(KEY_UPDATE.len()).copied() else { return Ok(Meaning::Nothing) };
        self.key_update.clear();
        match request {
            0 => Ok(Meaning::KeyUpdate { answer: false }),
            1 => Ok(Meaning::KeyUpdate { answer: true }),
            _ => Err(Fault::Broken(AlertDescription::IllegalParameter)),
        }
    }
}

fn alert(payload: &[u8], is_tls13: bool) -> Result<Meaning, Fault> {
    let [level, description] = *payload else { return Err(Fault::Broken(AlertDescription::DecodeError)) };
    match AlertDescription::from(description) {
        AlertDescription::CloseNotify => Ok(Meaning::End),
        AlertDescription::UserCanceled => Ok(Meaning::Nothing),
        _ if level == WARNING && !is_tls13 => Ok(Meaning::Nothing),
        description => Err(Fault::Alerted(description)),
    }
}

/// Reads records whose payloads are not encrypted, and checks that a flood of records without data ends with an error.
///
/// # Panics
/// If the flood does not end, or if a complete key update stays in `key_update`.
#[cfg(any(test, fuzzing))]
pub(super) fn check(records: &[u8]) {
    for is_tls13 in [false, true] {
        let (mut messages, mut without_data) = (Messages::default(), 0);
        let mut receive = |record: &mut [u8]| {
            let received = messages.receive(ContentType::from(record[0]), &record[HEADER_BYTES..], is_tls13)?;
            without_data = if received == Meaning::Data { 0 } else { without_data + 1 };
            assert!(without_data <= MAX_FRUITLESS && messages.key_update.len() < messages.key_update.capacity());
            Ok(())
        };
        RecordReader::default().read(&mut records.to_vec(), &mut receive).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ContentType::{Alert, ApplicationData, ChangeCipherSpec, Handshake};

    fn broken(alert: AlertDescription) -> Result<Meaning, Fault> {
        Err(Fault::Broken(alert))
    }

    #[test]
    fn each_record_has_its_meaning() {
        let unexpected = || broken(AlertDescription::UnexpectedMessage);
        for (kind, payload, in_tls13, in_tls12) in [
            (ApplicationData, &b"data"[..], Ok(Meaning::Data), Ok(Meaning::Data)),
            (ApplicationData, b"", Ok(Meaning::Nothing), Ok(Meaning::Nothing)),
            (Alert, &[1, 0], Ok(Meaning::End), Ok(Meaning::End)),
            (Alert, &[2, 0], Ok(Meaning::End), Ok(Meaning::End)),
            (Alert, &[1, 90], Ok(Meaning::Nothing), Ok(Meaning::Nothing)),
            // A warning, whose level TLS 1.3 ignores.
            (Alert, &[1, 42], Err(Fault::Alerted(AlertDescription::BadCertificate)), Ok(Meaning::Nothing)),
            (
                Alert,
                &[2, 42],
                Err(Fault::Alerted(AlertDescription::BadCertificate)),
                Err(Fault::Alerted(AlertDescription::BadCertificate)),
            ),
            (Alert, &[1], broken(AlertDescription::DecodeError), broken(AlertDescription::DecodeError)),
            (Alert, &[1, 0, 0], broken(AlertDescription::DecodeError), broken(AlertDescription::DecodeError)),
            (Handshake, &[24, 0, 0, 1, 0], Ok(Meaning::KeyUpdate { answer: false }), unexpected()),
            (Handshake, &[24, 0, 0, 1, 1], Ok(Meaning::KeyUpdate { answer: true }), unexpected()),
            (Handshake, &[24, 0, 0, 1, 2], broken(AlertDescription::IllegalParameter), unexpected()),
            // A message after the key update, a key update with a longer body, and a new `ClientHello`.
            (Handshake, &[24, 0, 0, 1, 0, 24], unexpected(), unexpected()),
            (Handshake, &[24, 0, 0, 2, 0], unexpected(), unexpected()),
            (Handshake, &[1, 0, 0, 9], unexpected(), unexpected()),
            (Handshake, &[], unexpected(), unexpected()),
            (ChangeCipherSpec, &[1], unexpected(), unexpected()),
        ] {
            assert_eq!(Messages::default().receive(kind, payload, true), in_tls13, "{kind:?} {payload:?}");
            assert_eq!(Messages::default().receive(kind, payload, false), in_tls12, "{kind:?} {payload:?}");
        }
    }

    #[test]
    fn key_update_may_come_in_several_records() {
        let mut messages = Messages::default();
        for byte in [24, 0, 0, 1] {
            assert_eq!(messages.receive(Handshake, &[byte], true), Ok(Meaning::Nothing));
        }
        assert_eq!(messages.receive(Handshake, &[1], true), Ok(Meaning::KeyUpdate { answer: true }));
        assert_eq!(messages.receive(ApplicationData, b"data", true), Ok(Meaning::Data));
        messages.receive(Handshake, &[24], true).unwrap();
        let interrupted = messages.receive(ApplicationData, b"data", true);
        assert_eq!(interrupted, broken(AlertDescription::UnexpectedMessage));
    }

    #[test]
    fn floods_of_records_without_data_end() {
        for (kind, payload) in [(ApplicationData, &[][..]), (Handshake, &[24, 0, 0, 1, 0]), (Alert, &[1, 90])] {
            let mut messages = Messages::default();
            for _ in 0..3 {
                for _ in 0..MAX_FRUITLESS {
                    messages.receive(kind, payload, true).unwrap();
                }
                assert_eq!(messages.receive(ApplicationData, b"data", true), Ok(Meaning::Data));
            }
            for _ in 0..MAX_FRUITLESS {
                messages.receive(kind, payload, true).unwrap();
            }
            assert_eq!(messages.receive(kind, payload, true), broken(AlertDescription::UnexpectedMessage));
        }
    }
}
