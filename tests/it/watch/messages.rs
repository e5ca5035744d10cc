//! What `btcfeed watch` says when it cannot connect: the address, what is wrong, and when it tries again.

use super::command;
use crate::support::exchange::Exchange;
use crate::support::foreign_server::{Answer, Server};
use crate::support::ports::free_address;
use crate::support::{embedded, soon};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, BufReader};

/// Returns the first line that `btcfeed watch` prints about its connection.
async fn first_line(arguments: &[&str], proxy: Option<(&str, &str)>) -> String {
    let mut command = command(arguments);
    command.envs(proxy).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    soon("a line", stderr.read_line(&mut line)).await.unwrap();
    line.trim_end().to_owned()
}

#[tokio::test]
async fn failed_connection_is_explained() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let ssh = Server::start(vec![Answer::Raw("SSH-2.0-OpenSSH_9.2\r\n".to_owned())]).await;
    let (http, unused, ssh) = (&replica.address, free_address(), ssh.address.to_string());
    for (address, expected) in [
        (
            format!("https://{http}"),
            format!("https://{http}: the answer is not TLS; perhaps the server does not use TLS: try http://"),
        ),
        (unused.clone(), format!("http://{unused}: connection refused: no server listens on this port")),
        ("feed.invalid".to_owned(), "http://feed.invalid: the name of the host cannot be resolved: ".to_owned()),
        (ssh.clone(), format!("http://{ssh}: the answer is not HTTP; the server may use TLS (try https://)")),
    ] {
        for transport in ["websocket", "sse"] {
            let line = first_line(&[&address, "--transport", transport], None).await;
            assert!(line.starts_with(&format!("btcfeed: not connected: {expected}")), "{line}");
            assert!(line.contains("; trying again in 0.") && line.ends_with(" s"), "{line}");
        }
    }
    // A permanent failure has the address too.
    let line = first_line(&[&replica.ops], None).await;
    assert!(line.starts_with(&format!("btcfeed: {}: there is no feed at this address: ", replica.ops)), "{line}");
}

#[tokio::test]
async fn proxy_of_the_environment_is_named() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    let unused = free_address();
    let proxy = format!("http://user:secret@{unused}");
    let line = first_line(&["feed.example:8080"], Some(("HTTP_PROXY", &proxy))).await;
    let named =
        format!("http://feed.example:8080 through the proxy {unused} (HTTP_PROXY or ALL_PROXY): connection refused");
    assert!(line.contains(&named) && !line.contains("secret"), "{line}");
    let line = first_line(&["https://feed.example"], Some(("ALL_PROXY", &proxy))).await;
    assert!(
        line.contains(&format!("through the proxy {unused} (HTTPS_PROXY or ALL_PROXY): connection refused")),
        "{line}"
    );
    // The replica takes the place of a proxy that forwards requests.
    let forwarding = format!("http://{}", replica.address);
    let line = first_line(&["feed.example:8080"], Some(("http_proxy", &forwarding))).await;
    assert!(line.starts_with("btcfeed: connected to "), "{line}");
}
