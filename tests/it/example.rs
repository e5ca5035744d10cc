//! The example `follow`, as a user runs it.

use crate::support::exchange::Exchange;
use crate::support::{embedded, soon};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// Builds the example, and returns a command that runs it.
async fn example() -> Command {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--offline", "--quiet", "--example", "follow"]);
    let build = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(timeout(Duration::from_secs(300), build).await.unwrap().unwrap().success());
    // The example is in the same build directory as the program.
    Command::new(Path::new(env!("CARGO_BIN_EXE_btcfeed")).with_file_name("examples").join("follow"))
}

#[tokio::test]
async fn invalid_id_is_reported() {
    let mut example = example().await;
    let output = soon("the end", example.args(["localhost:1", "x"]).output()).await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success(), "{error}");
    let wrong = "Error: invalid id \"x\": expected the id of an update, such as 1795166431075";
    assert_eq!(error.lines().next(), Some(wrong));
}

#[tokio::test]
async fn follow_ends_cleanly_at_a_closed_pipe() {
    let mut example = example().await;
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    example.arg(&replica.address).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = example.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = soon("a line", lines.next_line()).await.unwrap().unwrap();
    assert!(line.contains("  USD 97"), "{line}");
    drop(lines);
    let (mut stderr, mut error) = (child.stderr.take().unwrap(), String::new());
    soon("the end", stderr.read_to_string(&mut error)).await.unwrap();
    let status = soon("the end", child.wait()).await.unwrap();
    assert!(status.success(), "{status}: {error}");
    assert!(error.starts_with("to continue: cargo run --example follow ") && error.lines().count() == 1, "{error}");
}
