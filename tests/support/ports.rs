//! Ports for the servers that tests start.

use std::fs::{File, create_dir_all};
use std::net::TcpListener;
use std::sync::Mutex;

/// Ports outside the ranges from which systems choose ports themselves (from 32768 on Linux, from 49152 on macOS).
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Locks of the ports that this process has reserved. The system releases them when the process ends.
static RESERVED: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Returns a port on which nothing listens, and which no other test gets while this process runs.
///
/// Tests choose the ports of a replica themselves. So they know the ports before the replica starts, and can start it
/// again at the same address. A lock file prevents tests in other processes from using the port, also while the replica
/// does not listen.
pub fn free_port() -> u16 {
    let folder = std::env::temp_dir().join(format!("btcfeed-test-ports-{}", rustix::process::getuid().as_raw()));
    create_dir_all(&folder).unwrap();
    loop {
        let port = fastrand::u16(PORTS);
        let lock = File::create(folder.join(port.to_string())).unwrap();
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            RESERVED.lock().unwrap().push(lock);
            return port;
        }
    }
}

/// Returns an address on the loopback interface with a port of [`free_port`].
pub fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}
