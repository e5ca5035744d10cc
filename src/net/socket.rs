//! Socket options that the standard library does not offer.

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// Length of the accept queue. The kernel reduces it to `net.core.somaxconn`. If the queue is full, a client tries
/// again only after a second, which is long when thousands of clients reconnect at once.
const BACKLOG: i32 = 65_535;
/// Size of the kernel's send buffer. Without a bound it grows to 4 MiB for a slow client.
const SEND_BUFFER_BYTES: usize = 32 * 1024;

/// Binds a listening socket whose accepted connections have a bounded send buffer.
///
/// # Errors
/// If the address cannot be bound.
pub(crate) fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    // Accepted connections inherit this size.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Sets `TCP_USER_TIMEOUT`: the kernel drops a peer that stops acknowledging data. Only Linux has it. On other systems
/// only the bounds on stalled responses apply.
///
/// # Errors
/// If the socket is closed.
pub(crate) fn set_user_timeout(socket: &impl AsFd, bound: Option<Duration>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    SockRef::from(socket).set_tcp_user_timeout(bound)?;
    #[cfg(not(target_os = "linux"))]
    let (_, _) = (SockRef::from(socket), bound);
    Ok(())
}
