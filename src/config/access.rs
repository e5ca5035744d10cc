//! The settings of TLS and API keys for clients.

use super::reader::Reader;
use super::row::Row;
use super::setting::{DefaultValue, Setting};
use super::values::{FilePath, Words};
use crate::access;
use crate::server::{CertificateError, TlsOptions, TlsVersion};
use std::path::PathBuf;

const ACCESS: &str = "Access";

const CERT: Row<FilePath> = Row {
    env: "BTCFEED_TLS_CERT",
    help: "File with the certificate of the clients' port. With BTCFEED_TLS_KEY, it turns TLS on",
    details: "The intermediate certificates follow in the same file. The replica reads the file again on SIGHUP and \
              when it changes.",
    values: FilePath("a PEM file with a certificate, together with BTCFEED_TLS_KEY"),
    default: DefaultValue::Derived("none: plain HTTP"),
    example: "/etc/btcfeed/tls.crt",
};

const KEY: Row<FilePath> = Row {
    env: "BTCFEED_TLS_KEY",
    help: "File with the private key of the certificate",
    details: "The key must not have a password.",
    values: FilePath("a PEM file with a private key, together with BTCFEED_TLS_CERT"),
    default: DefaultValue::Derived("none: plain HTTP"),
    example: "/etc/btcfeed/tls.key",
};

const MIN_VERSION: Row<Words<TlsVersion>> = Row {
    env: "BTCFEED_TLS_MIN_VERSION",
    help: "Oldest version of TLS that clients may use: 1.2 or 1.3",
    details: "Libraries since 2018 know 1.3. A connection over 1.2 cannot change its keys, so with AES it ends after \
              16 million records.",
    values: Words(&[("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)]),
    default: DefaultValue::Fixed("1.2"),
    example: "1.3",
};

const KEYS_FILE: Row<FilePath> = Row {
    env: "BTCFEED_KEYS_FILE",
    help: "File with the hashes of the clients' API keys. Clients without a key are then rejected",
    details: "`btcfeed key new NAME` prints a new key and its line for this file. The replica reads the file again on \
              SIGHUP and when it changes. If a key is removed from the file or expires, its streams end.",
    values: FilePath("a file with lines that `btcfeed key new` prints"),
    default: DefaultValue::Derived("none: clients need no key"),
    example: "/etc/btcfeed/keys",
};

/// Returns the rows of this file.
pub(super) fn settings() -> Vec<Setting> {
    vec![CERT.setting(ACCESS), KEY.setting(ACCESS), MIN_VERSION.setting(ACCESS), KEYS_FILE.setting(ACCESS)]
}

/// Reads the options of TLS, and checks the files.
pub(super) fn read_tls(reader: &mut Reader<'_>) -> Option<TlsOptions> {
    let min_version = reader.value(&MIN_VERSION);
    let (certificate, key) = match (reader.lookup(&CERT), reader.lookup(&KEY)) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return None,
        (Some(_), None) => {
            reader.reject(&CERT, "BTCFEED_TLS_KEY to be set too");
            return None;
        }
        (None, Some(_)) => {
            reader.reject(&KEY, "BTCFEED_TLS_CERT to be set too");
            return None;
        }
    };
    let options = TlsOptions { certificate, key, min_version };
    match options.check() {
        Ok(()) => return Some(options),
        Err(CertificateError::Certificate(reason)) => reader.reject_because(&CERT, &reason),
        Err(CertificateError::Key(reason)) => reader.reject_because(&KEY, &reason),
    }
    None
}

/// Reads the name of the file of keys, and checks the file.
pub(super) fn read_keys(reader: &mut Reader<'_>) -> Option<PathBuf> {
    let file = reader.lookup(&KEYS_FILE)?;
    match access::read_keys(&file) {
        Ok(_) => return Some(file),
        Err(reason) => reader.reject_because(&KEYS_FILE, &reason),
    }
    None
}
