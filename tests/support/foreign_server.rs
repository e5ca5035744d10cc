//! A server that answers as a test specifies: a feed of another version, or something that is not a feed.

use btcfeed::client::{Client, Transport};
use futures_util::SinkExt;
use hyper::Response;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

const MS: Duration = Duration::from_millis(1);

/// The answer to a connection. Connections get a server's answers in order. All further connections get the last one.
#[derive(Clone)]
pub enum Answer {
    /// These messages over a WebSocket, then a close frame with this code. Without a code the connection stays open.
    WebSocket(Vec<String>, Option<u16>),
    /// These bytes after the head of the request. Then the connection is closed.
    Raw(String),
    /// The head of an event stream, then these pieces, then the end.
    Events(Vec<String>),
    /// An event stream with a line that never ends.
    Endless,
    /// An HTTP/1 error. It is sent as soon as the first bytes of a request arrive.
    BadRequest,
    /// An HTML page over HTTP/2.
    Http2Page,
}

impl Answer {
    /// Returns an answer of these messages over a WebSocket.
    pub fn messages(messages: &[&str], close: Option<u16>) -> Answer {
        Answer::WebSocket(messages.iter().map(|message| (*message).to_owned()).collect(), close)
    }
}

/// A running server.
pub struct Server {
    /// Address of the server.
    pub address: SocketAddr,
    /// First line of each connection, and the moment of its arrival.
    requests: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Server {
    /// Starts a server with these answers.
    pub async fn start(answers: Vec<Answer>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<_>>>::default());
        let kept = requests.clone();
        tokio::spawn(async move {
            for connection in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let answer = answers[connection.min(answers.len() - 1)].clone();
                tokio::spawn(serve(socket, answer, kept.clone()));
            }
        });
        Server { address, requests }
    }

    /// Returns a builder for a client of this server that retries quickly.
    pub fn client(&self, transport: Transport) -> btcfeed::client::Builder {
        Client::builder(&self.address.to_string()).transport(transport).retry(10 * MS, 50 * MS)
    }

    /// Returns the first line of each connection, and the moment of its arrival.
    pub fn requests(&self) -> Vec<(String, Instant)> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut socket: TcpStream, answer: Answer, requests: Arc<Mutex<Vec<(String, Instant)>>>) {
    let mut start = [0; 4096];
    let len = socket.peek(&mut start).await.unwrap();
    let line = String::from_utf8_lossy(&start[..len]).lines().next().unwrap_or_default().to_owned();
    requests.lock().unwrap().push((line, Instant::now()));
    match answer {
        Answer::WebSocket(messages, close) => {
            let mut socket = accept_async(socket).await.unwrap();
            for message in messages {
                if socket.send(Message::text(message)).await.is_err() {
                    return;
                }
            }
            match close {
                Some(code) => {
                    socket.close(Some(CloseFrame { code: code.into(), reason: "test".into() })).await.unwrap()
                }
                None => std::future::pending().await,
            }
            // The client needs time to read the close frame before the socket is closed.
            sleep(1000 * MS).await;
        }
        Answer::Raw(bytes) => {
            read_request(&mut socket).await;
            socket.write_all(bytes.as_bytes()).await.ok();
        }
        Answer::Events(pieces) => {
            read_request(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n").await.ok();
            for piece in pieces {
                socket.write_all(piece.as_bytes()).await.ok();
                sleep(20 * MS).await;
            }
        }
        Answer::BadRequest => {
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
            // The server waits until the client has closed the connection.
            while socket.read(&mut start).await.is_ok_and(|len| len > 0) {}
        }
        Answer::Http2Page => {
            let page = service_fn(async |_| {
                let page = Response::builder().header("content-type", "text/html").body("hi".to_owned());
                Ok::<_, Infallible>(page.unwrap())
            });
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), page).await.ok();
        }
        Answer::Endless => {
            read_request(&mut socket).await;
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: ").await.ok();
            while socket.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
    }
}

async fn read_request(socket: &mut TcpStream) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(socket.read_u8().await.unwrap());
    }
}

/// Returns a tick as JSON. It has a field and a currency that the SDK does not know.
pub fn tick(id: u64, prev: u64) -> String {
    format!(r#"{{"type":"tick","id":{id},"prev":{prev},"new":{{}},"prices":{{"USD":1.5,"XAU":2}},"sources":{{}}}}"#)
}
