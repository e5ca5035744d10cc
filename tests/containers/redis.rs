//! The store and a replica on the Redis of each image.

use crate::support::exchange::Exchange;
use crate::support::replica::Replica;
use crate::support::store_contract;
use crate::support::{LEASE, entries, replica_settings, soon, unbroken, until};
use btcfeed::store;
use testcontainers::core::IntoContainerPort;
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerAsync, GenericImage};
use tokio::time::sleep;

/// Variable with the images to test, separated by spaces. Any server with the protocol of Redis is possible, for
/// example `valkey/valkey:8`.
const IMAGES: &str = "BTCFEED_TEST_REDIS_IMAGES";
/// The image of docker-compose.yml.
const DEFAULT_IMAGES: &str = "redis:7-bookworm";

/// A server in a container. When this value is dropped, the container is removed.
struct Server {
    container: ContainerAsync<GenericImage>,
    url: String,
}

impl Server {
    async fn start(image: &str) -> Server {
        let (name, tag) = image.split_once(':').unwrap_or((image, "latest"));
        let image = GenericImage::new(name, tag).with_exposed_port(6379.tcp());
        let container = soon("a container", image.start()).await.expect("Docker runs, and can get the image");
        let host = container.get_host().await.unwrap();
        let port = container.get_host_port_ipv4(6379).await.unwrap();
        let url = format!("redis://{host}:{port}");
        until("Redis to answer", async || is_answering(&url).await).await;
        Server { container, url }
    }
}

async fn is_answering(url: &str) -> bool {
    let client = redis::Client::open(url).unwrap();
    let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
    redis::cmd("PING").exec_async(&mut connection).await.is_ok()
}

fn images() -> Vec<String> {
    let images = std::env::var(IMAGES).unwrap_or(DEFAULT_IMAGES.to_owned());
    images.split_whitespace().map(str::to_owned).collect()
}

/// Runs each promise (a test of the store contract) on a feed of its own.
macro_rules! run_all {
    ($($promise:ident),+ $(,)?) => {
        async fn keeps_every_promise(url: &str) {
            $(
                println!("{}", stringify!($promise));
                let store = store::Redis::new(url, stringify!($promise), store_contract::OPTIONS).unwrap();
                store_contract::$promise(&store).await;
            )+
        }
    };
}

for_each_promise!(run_all);

#[tokio::test]
async fn store_keeps_its_contract_on_each_image() {
    for image in images() {
        println!("{image}");
        let server = Server::start(&image).await;
        keeps_every_promise(&server.url).await;
    }
}

#[tokio::test]
async fn replica_survives_a_pause_of_each_image() {
    for image in images() {
        println!("{image}");
        let server = Server::start(&image).await;
        let exchange = Exchange::start().await;
        let replica = Replica::start(&replica_settings(&exchange, "r1", &[("REDIS_URL", &server.url)])).await;
        let mut client = replica.connect("format=full").await;
        let mut seen = entries(&mut client, 3).await;
        server.container.pause().await.unwrap();
        sleep(LEASE * 4).await;
        server.container.unpause().await.unwrap();
        seen.extend(entries(&mut client, 20).await);
        unbroken(&seen);
        assert_eq!(replica.history_with(seen.last().unwrap()).await[..seen.len()], seen);
    }
}
