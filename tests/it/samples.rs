//! The samples of the reference, as users run them.

use crate::support::exchange::Exchange;
use crate::support::{embedded, http, soon, with_history};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

/// Returns the samples in a language on the page `/docs` of a server.
async fn samples(address: &str, language: &str) -> Vec<String> {
    let page =
        soon("the page", http().get(format!("http://{address}/docs")).send()).await.unwrap().text().await.unwrap();
    let begin = format!("<figure data-language=\"{language}\">");
    let figures = page.split(&begin).skip(1);
    let code = figures.map(|figure| figure.split_once("<code>").unwrap().1.split("</code>").next().unwrap());
    code.map(|code| code.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&"))
        .collect()
}

/// Runs a command, which must succeed. Returns its output.
async fn output(mut command: Command, what: &str) -> String {
    let output = soon(what, command.kill_on_drop(true).output()).await.unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{what}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs a command until it has printed a line, and kills it. Returns the line.
async fn first_line(mut command: Command, what: &str) -> String {
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    soon(what, lines.next_line()).await.unwrap().unwrap_or_else(|| panic!("{what} printed nothing"))
}

#[tokio::test]
async fn curl_and_python_samples_run() {
    let exchange = Exchange::start().await;
    let replica = with_history(&exchange).await;
    let commands = samples(&replica.address, "curl").await;
    let commands: Vec<_> =
        commands.iter().flat_map(|sample| sample.lines()).filter(|line| !line.starts_with('#')).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for line in commands {
        let mut shell = Command::new("sh");
        let fail = if line.contains("--fail") { "" } else { "--fail-with-body " };
        shell.args(["-c", &line.replace("curl ", &format!("curl --silent --show-error {fail}"))]);
        if line.contains("-N ") {
            assert!(!first_line(shell, line).await.is_empty(), "{line}");
        } else {
            assert!(!output(shell, line).await.is_empty(), "{line}");
        }
    }
    let programs = samples(&replica.address, "Python").await;
    let programs: Vec<_> = programs.iter().filter(|program| program.contains("urlopen")).collect();
    assert!(programs.len() > 5, "{programs:?}");
    for program in programs {
        let mut python = Command::new("python3");
        python.args(["-c", program]);
        assert!(output(python, program).await.starts_with(['{', '[']), "{program}");
    }
}

/// Builds an example, and returns its path.
async fn build(name: &str) -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--locked", "--offline", "--quiet", "--example", name]);
    let build = build.current_dir(env!("CARGO_MANIFEST_DIR")).status();
    assert!(timeout(Duration::from_secs(300), build).await.unwrap().unwrap().success());
    Path::new(env!("CARGO_BIN_EXE_btcfeed")).with_file_name("examples").join(name)
}

#[tokio::test]
async fn rust_samples_run() {
    let exchange = Exchange::start().await;
    let replica = embedded(&exchange, &[]).await;
    // The samples request localhost:8080. With `http_proxy`, they send these requests to the replica, and the replica
    // answers them itself.
    let command = |path: PathBuf| {
        let mut command = Command::new(path);
        command.env("http_proxy", format!("http://{}", replica.address)).env_remove("no_proxy").env_remove("NO_PROXY");
        command
    };
    let latest = output(command(build("docs_get").await), "docs_get").await;
    assert!(latest.starts_with("{\"timedate\":"), "{latest}");
    let line = first_line(command(build("docs_follow").await), "docs_follow").await;
    assert!(line.contains("97"), "{line}");
}
