//! The socket loop: drives one session over one raw socket. It knows nothing of prices, and the session nothing of sockets.
//!
//! While nothing happens a connection costs what stands in [`Socket`] and a task; there is no buffer. What is read goes
//! through a buffer on the stack, what is written is bytes that all sessions share.

use super::frame::{self, Decoder, Incoming, Violation};
use crate::server::follow::{Loading, load, loaded};
use crate::session::{Goodbye, Session, Sessions, Step};
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How long a goodbye may take where the replica stops, the client's answer to it included.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);
/// Bytes read at once, and how often in a row before others have their turn.
const READ_BYTES: usize = 2048;
const READS: usize = 4;
/// The most pieces in one gathering write.
const WRITE_PIECES: usize = 64;

/// One client's connection.
pub(super) struct Socket<'a> {
    stream: TcpStream,
    session: Session,
    sessions: &'a Sessions,
    decoder: Decoder,
    outgoing: Outgoing,
    /// The newest ping that is not answered yet: only that needs an answer (RFC 6455 §5.5.3).
    pong: Option<Bytes>,
    heartbeat: Heartbeat,
    /// Since when the socket has taken nothing.
    stalled_since: Option<Instant>,
    /// When the session wants to be asked again though nothing has happened.
    ask_at: Option<Instant>,
    /// The history that is being read for the session.
    loading: Option<Loading>,
}

enum Heartbeat {
    PingAt(Instant),
    PongBy(Instant),
}

/// Why a socket's life ends.
enum End {
    /// The client is gone.
    Gone,
    /// The client said goodbye.
    Closed(Option<u16>),
    /// The client broke the protocol.
    Violated(Violation),
    /// This side says goodbye.
    Leave(Goodbye),
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> End {
        End::Gone
    }
}

impl<'a> Socket<'a> {
    pub(super) fn new(stream: TcpStream, session: Session, sessions: &'a Sessions) -> Socket<'a> {
        Socket {
            stream,
            session,
            sessions,
            decoder: Decoder::default(),
            outgoing: Outgoing::default(),
            pong: None,
            heartbeat: Heartbeat::PingAt(Instant::now() + sessions.limits.ping_every),
            stalled_since: None,
            ask_at: None,
            loading: None,
        }
    }

    /// Serves the client until it goes, breaks the rules, or `stop`. `early` is what it sent right behind its request.
    pub(super) async fn run(&mut self, early: Bytes, stop: &CancellationToken) {
        let heard = self.hear(&early);
        // It is the HTTP server's buffer: kept, it would be most of what a connection costs.
        drop(early);
        let end = match heard {
            Ok(()) => self.serve(stop).await,
            Err(end) => end,
        };
        self.sessions.close(&mut self.session).await;
        let farewell = match end {
            End::Gone => return,
            End::Closed(code) => frame::close_reply(code),
            End::Violated(Violation { code, reason }) => frame::close(code, reason),
            End::Leave(goodbye) => {
                debug!(?goodbye, cursor = %self.session.cursor(), "a client is let go");
                frame::close(goodbye.websocket_code(), goodbye.reason())
            }
        };
        // A client that reads slowly may find out why it is let go; a replica that stops does not wait that long for it.
        let deadline =
            if stop.is_cancelled() { CLOSE_DEADLINE } else { self.sessions.limits.write_stall.max(CLOSE_DEADLINE) };
        timeout(deadline, self.close(farewell, matches!(end, End::Closed(_)))).await.ok();
    }

    async fn serve(&mut self, stop: &CancellationToken) -> End {
        let mut head = self.sessions.hub.watch_head();
        let mut stopped = pin!(stop.cancelled());
        let mut timer = pin!(sleep_until(self.deadline()));
        loop {
            // Seen before the session looks, so that a move in between wakes us again.
            head.mark_unchanged();
            match self.advance() {
                Ok(true) => {
                    tokio::task::coop::consume_budget().await;
                    continue;
                }
                Ok(false) => {}
                Err(end) => return end,
            }
            let deadline = self.deadline();
            if timer.deadline() != deadline {
                timer.as_mut().reset(deadline);
            }
            let blocked = !self.outgoing.is_empty();
            // Every arm is cancel-safe: readiness, a moved head, a deadline and what is being read stay as they are.
            let heard = tokio::select! {
                biased;
                () = &mut stopped => Err(End::Leave(Goodbye::Draining)),
                // Before what a client can keep busy; and what is being read holds others up until it is taken.
                () = &mut timer => self.overdue(Instant::now()),
                entries = loaded(&mut self.loading) => {
                    self.loading = None;
                    self.outgoing.extend(self.session.loaded(&entries));
                    Ok(())
                }
                ready = readiness(&self.stream, blocked) => match ready {
                    Ok(true) => self.read(),
                    Ok(false) => Ok(()),
                    Err(error) => Err(error.into()),
                },
                _ = head.changed(), if !blocked => Ok(()),
            };
            if let Err(end) = heard {
                return end;
            }
        }
    }

    /// Sends what is due, one step of the session at a time. Whether there may be more to send at once.
    fn advance(&mut self) -> Result<bool, End> {
        if self.outgoing.is_empty() {
            if let Some(pong) = self.pong.take() {
                self.outgoing.push(pong);
            } else if self.loading.is_none() {
                self.step()?;
            }
        }
        if self.outgoing.is_empty() {
            return Ok(false);
        }
        let progress = self.outgoing.write(&self.stream)?;
        if self.outgoing.is_empty() {
            self.stalled_since = None;
            return Ok(true);
        }
        let since = if progress { None } else { self.stalled_since };
        self.stalled_since = Some(since.unwrap_or_else(Instant::now));
        Ok(false)
    }

    /// Asks the session what to send, until it says something, wants history, or has nothing to say.
    fn step(&mut self) -> Result<(), End> {
        while self.outgoing.is_empty() {
            match self.session.step(&self.sessions.hub, Instant::now().into_std()) {
                Step::Send(bytes) => self.outgoing.extend(bytes),
                Step::Load { after, until } => {
                    self.loading = Some(load(self.sessions.hub.clone(), after, until));
                    break;
                }
                Step::Leave(goodbye) => return Err(End::Leave(goodbye)),
                Step::Wait(at_most) => {
                    self.ask_at = at_most.map(|wait| Instant::now() + wait);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Reads what has come, a bounded part of it.
    fn read(&mut self) -> Result<(), End> {
        let mut buffer = [0; READ_BYTES];
        for _ in 0..READS {
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Err(End::Gone),
                Ok(len) => self.hear(&buffer[..len])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8]) -> Result<(), End> {
        let mut closed = None;
        let (pong, heartbeat, ping_every) = (&mut self.pong, &mut self.heartbeat, self.sessions.limits.ping_every);
        let mut say = |incoming| match incoming {
            Incoming::Ping(payload) => *pong = Some(frame::pong(&payload)),
            Incoming::Pong => *heartbeat = Heartbeat::PingAt(Instant::now() + ping_every),
            Incoming::Close(code) => closed = closed.take().or(Some(code)),
        };
        let read = self.decoder.read(bytes, &mut say);
        match (closed, read) {
            // What comes after a close frame does not count (RFC 6455 §5.5.1).
            (Some(code), _) => Err(End::Closed(code)),
            (None, Err(violation)) => Err(End::Violated(violation)),
            (None, Ok(())) => Ok(()),
        }
    }

    fn deadline(&self) -> Instant {
        let (Heartbeat::PingAt(at) | Heartbeat::PongBy(at)) = self.heartbeat;
        let stalled = self.stalled_since.map(|since| since + self.sessions.limits.write_stall);
        [stalled, self.ask_at].into_iter().flatten().fold(at, Instant::min)
    }

    fn overdue(&mut self, now: Instant) -> Result<(), End> {
        self.ask_at = None;
        if self.stalled_since.is_some_and(|since| since + self.sessions.limits.write_stall <= now) {
            return Err(End::Leave(Goodbye::TooSlow));
        }
        // The pong may be here, unread.
        self.read()?;
        match self.heartbeat {
            Heartbeat::PongBy(by) if by <= now => return Err(End::Leave(Goodbye::NoPong)),
            Heartbeat::PingAt(at) if at <= now => {
                self.outgoing.push(frame::ping());
                self.heartbeat = Heartbeat::PongBy(now + self.sessions.limits.ping_every);
            }
            _ => {}
        }
        Ok(())
    }

    /// Sends the close frame behind whatever was begun, and waits for the client to close too.
    async fn close(&mut self, farewell: Bytes, client_closed: bool) -> io::Result<()> {
        self.outgoing.keep_only_what_was_begun();
        self.outgoing.push(farewell);
        while !self.outgoing.is_empty() {
            self.outgoing.write(&self.stream)?;
            if !self.outgoing.is_empty() {
                self.stream.writable().await?;
            }
        }
        socket2::SockRef::from(&self.stream).shutdown(std::net::Shutdown::Write)?;
        // Closing with something unread would reset the connection, and the client might never see the frame.
        if client_closed {
            return Ok(());
        }
        let mut buffer = [0; 256];
        loop {
            self.stream.readable().await?;
            match self.stream.try_read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Waits until the stream can be read, or, if that is wanted, written to: whether it can be read. The stream keeps a waker
/// for each, which costs less at every turn than to queue up as `ready` does.
async fn readiness(stream: &TcpStream, to_write: bool) -> io::Result<bool> {
    poll_fn(|context| {
        if let Poll::Ready(read) = stream.poll_read_ready(context) {
            return Poll::Ready(read.map(|()| true));
        }
        if to_write && let Poll::Ready(write) = stream.poll_write_ready(context) {
            return Poll::Ready(write.map(|()| false));
        }
        Poll::Pending
    })
    .await
}

/// Bytes on their way out. Empty it owns nothing.
#[derive(Default)]
struct Outgoing {
    queue: VecDeque<Bytes>,
    /// Whether the first piece was sent in part.
    begun: bool,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn push(&mut self, bytes: Bytes) {
        self.queue.push_back(bytes);
    }

    fn extend(&mut self, bytes: Vec<Bytes>) {
        if self.queue.is_empty() {
            self.queue = bytes.into();
        } else {
            self.queue.extend(bytes);
        }
    }

    /// Drops everything but a piece that was sent in part: a frame must never end inside another.
    fn keep_only_what_was_begun(&mut self) {
        self.queue.truncate(usize::from(self.begun));
    }

    /// Writes as much as the socket takes. Whether it took anything.
    fn write(&mut self, stream: &TcpStream) -> io::Result<bool> {
        let mut progress = false;
        while !self.queue.is_empty() {
            let mut pieces = [IoSlice::new(&[]); WRITE_PIECES];
            let mut count = 0;
            for (piece, bytes) in pieces.iter_mut().zip(&self.queue) {
                *piece = IoSlice::new(bytes);
                count += 1;
            }
            // One piece, as nearly always when live, goes the shorter way through the kernel.
            let written = match &pieces[..count] {
                [piece] => stream.try_write(piece),
                pieces => stream.try_write_vectored(pieces),
            };
            match written {
                Ok(sent) => {
                    self.sent(sent);
                    progress |= sent > 0;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        Ok(progress)
    }

    fn sent(&mut self, mut sent: usize) {
        while let Some(first) = self.queue.front_mut() {
            if sent < first.len() {
                first.advance(sent);
                self.begun |= sent > 0;
                return;
            }
            sent -= first.len();
            self.queue.pop_front();
            self.begun = false;
        }
    }
}
