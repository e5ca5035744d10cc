//! The server's end of a connection on this machine, as the kernel shows it in `/proc/net/tcp` (see proc_pid_net(5)).

use tokio::net::TcpStream;

/// State of an open connection in that table.
const ESTABLISHED: &str = "01";

/// The server's end of a connection.
struct PeerEnd {
    state: String,
    /// Bytes that the client has sent and the server has not read.
    unread: u32,
    /// Bytes that the server has sent and the client's kernel has not accepted.
    unsent: u32,
}

/// Returns the server's end, or `None` if there is no connection any more.
fn peer_end(socket: &TcpStream) -> Option<PeerEnd> {
    // A socket that was reset has no peer address.
    let (peer, own) = (socket.peer_addr().ok()?.port(), socket.local_addr().ok()?.port());
    let addresses = format!("0100007F:{peer:04X} 0100007F:{own:04X}");
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find(|line| line.contains(&addresses))?;
    let fields: Vec<_> = line.split_whitespace().collect();
    let (unsent, unread) = fields[4].split_once(':')?;
    let bytes = |queue: &str| u32::from_str_radix(queue, 16).ok();
    Some(PeerEnd { state: fields[3].to_owned(), unread: bytes(unread)?, unsent: bytes(unsent)? })
}

/// Returns true if the server has neither closed nor reset the connection.
pub fn is_established(socket: &TcpStream) -> bool {
    peer_end(socket).is_some_and(|end| end.state == ESTABLISHED)
}

/// Returns the number of bytes from the client that the server has not read yet.
pub fn unread(socket: &TcpStream) -> Option<u32> {
    Some(peer_end(socket)?.unread)
}

/// Returns the number of bytes from the server that wait in its kernel because the client does not read.
pub fn unsent(socket: &TcpStream) -> Option<u32> {
    Some(peer_end(socket)?.unsent)
}
