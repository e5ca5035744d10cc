//! Counts of a stream.

/// Counts of the entries of a stream (ticks and statuses).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// The entries that were taken from a connection.
    pub taken: u64,
    /// The entries that were dropped because they were already known.
    pub doubled: u64,
    /// The entries that came from the history before any connection had sent them. Only with
    /// [redundancy](super::Builder::redundancy).
    pub healed: u64,
    /// Counts of each address, in the order in which they were given.
    pub addresses: Vec<AddressStatistics>,
}

/// Counts of one address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AddressStatistics {
    /// The address.
    pub address: String,
    /// The entries that were taken from it.
    pub taken: u64,
    /// The connections to this address that were opened after an earlier connection, to this or another address, had
    /// ended.
    pub reconnects: u64,
}
