//! A real nginx with the configurations of `deploy/nginx`, in front of replicas on this machine.

use super::ports::free_address;
use super::tls::Authority;
use super::{http, until};
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// A running nginx.
pub struct Nginx {
    _child: Child,
    _dir: TempDir,
    /// Address for HTTP.
    pub address: String,
    /// Address for gRPC.
    pub grpc_address: String,
}

impl Nginx {
    /// Starts nginx. It distributes clients over the addresses in `replicas`.
    pub async fn start(replicas: &[&str]) -> Nginx {
        Nginx::start_with(replicas, &[]).await
    }

    /// Starts nginx with a port for TLS, with the certificate of an authority. Also returns the address of that port.
    pub async fn start_tls(replicas: &[&str], authority: &Authority) -> (Nginx, String) {
        let dir = tempfile::tempdir().unwrap();
        let address = free_address();
        std::fs::create_dir(dir.path().join("tls.d")).unwrap();
        let config = include_str!("../../deploy/nginx/tls.conf");
        assert_eq!(config.matches("listen 8443 ").count(), 1);
        let config = config.replace("listen 8443 ", &format!("listen {address} "));
        std::fs::write(dir.path().join("tls.d/tls.conf"), config).unwrap();
        std::fs::copy(authority.file("cert.pem"), dir.path().join("tls.d/tls.crt")).unwrap();
        std::fs::copy(authority.file("key.pem"), dir.path().join("tls.d/tls.key")).unwrap();
        (Nginx::start_in(dir, replicas, &[]).await, address)
    }

    /// Starts nginx with changes to its configuration, as an operator would make them: each text is replaced by
    /// another.
    pub async fn start_with(replicas: &[&str], changes: &[(&str, &str)]) -> Nginx {
        Nginx::start_in(tempfile::tempdir().unwrap(), replicas, changes).await
    }

    async fn start_in(dir: TempDir, replicas: &[&str], changes: &[(&str, &str)]) -> Nginx {
        let (address, grpc_address) = (free_address(), free_address());
        let servers: String = replicas.iter().map(|replica| format!("server {replica}; ")).collect();
        let mut config = include_str!("../../deploy/nginx/nginx.conf").to_owned();
        // Only texts that depend on the machine are replaced.
        let places = [
            ("listen 8080 ", &*format!("listen {address} ")),
            ("listen 8081 ", &format!("listen {grpc_address} ")),
            ("resolver 127.0.0.11 valid=2s ipv6=off;", &format!("upstream replicas {{ {servers} }}")),
            ("default btcfeed:8080;", "default replicas;"),
        ];
        for (shipped, local) in places.iter().chain(changes) {
            assert_eq!(config.matches(shipped).count(), 1, "nginx.conf contains {shipped:?} once");
            config = config.replace(shipped, local);
        }
        let nginx = Nginx { _child: run(dir.path(), &config, ""), _dir: dir, address, grpc_address };
        let url = format!("http://{}/v1/prices/latest", nginx.address);
        until("nginx to answer", async || {
            http().get(&url).send().await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
        nginx
    }
}

/// A running nginx that forwards TCP with `deploy/nginx/stream.conf`.
pub struct TcpNginx {
    _child: Child,
    _dir: TempDir,
    /// Address for clients.
    pub address: String,
}

impl TcpNginx {
    /// Starts nginx in front of these replicas, and waits until it accepts connections.
    pub async fn start(replicas: &[&str]) -> TcpNginx {
        let (dir, address) = (tempfile::tempdir().unwrap(), free_address());
        let servers: String = replicas.iter().map(|replica| format!("server {replica}; ")).collect();
        let mut config = include_str!("../../deploy/nginx/stream.conf").to_owned();
        for (shipped, local) in [
            ("listen 8443 ", &*format!("listen {address} ")),
            ("listen 8080 ", &format!("listen {} ", free_address())),
            ("listen 8081 ", &format!("listen {} ", free_address())),
            ("resolver 127.0.0.11 valid=2s ipv6=off;", &format!("upstream replicas {{ {servers} }}")),
            ("default btcfeed:8080;", "default replicas;"),
        ] {
            assert_eq!(config.matches(shipped).count(), 1, "stream.conf contains {shipped:?} once");
            config = config.replace(shipped, local);
        }
        // Debian, Fedora and Alpine have this module in a package of its own. Elsewhere, nginx contains it.
        let modules = ["/usr/lib/nginx/modules", "/usr/lib64/nginx/modules"].map(Path::new);
        let module = modules.map(|folder| folder.join("ngx_stream_module.so")).into_iter().find(|file| file.exists());
        let load = module.map_or(String::new(), |file| format!("load_module {};", file.display()));
        let nginx = TcpNginx { _child: run(dir.path(), &config, &load), _dir: dir, address };
        until("nginx to listen", async || TcpStream::connect(&nginx.address).await.is_ok()).await;
        nginx
    }
}

/// Starts the program in a directory. `load` are directives that load modules.
fn run(dir: &Path, config: &str, load: &str) -> Child {
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("nginx");
    // On Debian only root's PATH has nginx.
    command.env("PATH", format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap()));
    let directives = format!("{load} daemon off; master_process off;");
    command.arg("-p").arg(dir).arg("-c").arg(&file).args(["-g", &directives]);
    command.stderr(Stdio::null()).kill_on_drop(true);
    command.spawn().expect("nginx is installed (see `make test`)")
}
