//! An exchange that the bench plays itself, so that it knows when a poll was answered.

use crate::shared::machine::unix_ns;
use anyhow::Context;
use btcfeed::tick::TickId;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// An exchange with one price, which answers as Coinbase does.
pub(crate) struct Exchange {
    address: SocketAddr,
    answers: Arc<Mutex<Vec<u64>>>,
}

impl Exchange {
    /// Opens it; it answers until this process ends.
    pub(crate) fn open() -> anyhow::Result<Exchange> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let exchange = Exchange { address: listener.local_addr()?, answers: Arc::default() };
        let answers = exchange.answers.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answers = answers.clone();
                // Whoever asks may go at any time.
                std::thread::spawn(move || answer(&stream, &answers).ok());
            }
        });
        Ok(exchange)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// When each poll was answered, in nanoseconds since 1970.
    pub(crate) fn answers(&self) -> Vec<u64> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers whatever is asked on a connection.
fn answer(mut stream: &TcpStream, answers: &Mutex<Vec<u64>>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream).lines();
    loop {
        while !lines.next().context("the client has gone")??.is_empty() {}
        let body = format!(r#"{{"price":"97116.17","time":"{}"}}"#, TickId::now().timedate());
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        let now = unix_ns(Instant::now());
        stream.write_all((head + &body).as_bytes())?;
        answers.lock().unwrap_or_else(PoisonError::into_inner).push(now);
    }
}
