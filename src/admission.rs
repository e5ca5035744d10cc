//! Admission of clients by their address: who may connect, and how much of the shared resources one address may use.
//!
//! In layer order, each file uses only those before it:
//!
//! | module | what it is |
//! |---|---|
//! | `client_address` | addresses of clients, also behind proxies |
//! | `refusal` | which limit a client has reached |
//! | `address_usage` | what addresses use on other replicas |
//! | `address_limits` | limits of each address |
//! | `sharing` | exchange of the usage between replicas |

pub(crate) mod address_limits;
pub(crate) mod address_usage;
pub(crate) mod client_address;
pub(crate) mod refusal;
pub(crate) mod sharing;
