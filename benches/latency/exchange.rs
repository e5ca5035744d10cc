//! Simulated exchange that records the time of its answer to each poll.

use crate::shared::machine::unix_ns;
use anyhow::Context;
use btcfeed::tick::TickId;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Exchange with one price, in the format of Coinbase.
pub(crate) struct Exchange {
    address: SocketAddr,
    answers: Arc<Mutex<Vec<u64>>>,
}

impl Exchange {
    /// Starts the exchange. It runs until this process ends.
    pub(crate) fn open() -> anyhow::Result<Exchange> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let exchange = Exchange { address: listener.local_addr()?, answers: Arc::default() };
        let answers = exchange.answers.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let answers = answers.clone();
                // An error means that the client has disconnected.
                std::thread::spawn(move || answer(&stream, &answers).ok());
            }
        });
        Ok(exchange)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns the times of all answers, in nanoseconds since 1970.
    pub(crate) fn answers(&self) -> Vec<u64> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers all requests of a connection.
fn answer(mut stream: &TcpStream, answers: &Mutex<Vec<u64>>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream).lines();
    loop {
        while !lines.next().context("the client has disconnected")??.is_empty() {}
        let body = format!(r#"{{"price":"97116.17","time":"{}"}}"#, TickId::now().timedate());
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        let now = unix_ns(Instant::now());
        stream.write_all((head + &body).as_bytes())?;
        answers.lock().unwrap_or_else(PoisonError::into_inner).push(now);
    }
}
