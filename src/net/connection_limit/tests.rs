//! Places of connections and of requests.

use super::*;
use crate::admission::address_limits::AddressOptions;
use crate::admission::client_address::TrustedProxies;
use std::num::NonZeroU32;

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);

fn limit(clients: usize, of_address: usize) -> ConnectionLimit {
    let options = AddressOptions {
        proxies: TrustedProxies::parse("10.0.0.0/8").unwrap(),
        connections: of_address,
        rate: NonZeroU32::MAX,
        volume: NonZeroU32::MAX,
        reads: 1,
        all_reads: 9,
        client_ids: NonZeroU32::MAX,
        all_client_ids: NonZeroU32::MAX,
        has_proxy_protocol: false,
    };
    ConnectionLimit::new(clients, Arc::new(AddressLimits::new(options)))
}

fn admit(limit: &ConnectionLimit, peer: SocketAddr) -> Result<Permit, Limit> {
    match limit.admit(peer, limit.addresses().proxies().contains(peer.ip())) {
        Some(Admission::Admitted(permit)) => Ok(permit),
        Some(Admission::Refused(_, refusal)) => Err(refusal.limit),
        None => panic!("closed"),
    }
}

fn request(permit: &Permit, client: &str) -> Result<Permit, Limit> {
    let headers = [("x-forwarded-for".parse().unwrap(), client.parse().unwrap())].into_iter().collect();
    permit.begin_request(&headers).map_err(|refusal| refusal.limit)
}

#[test]
fn each_concurrent_request_is_a_client() {
    let limit = limit(3, 9);
    let taken = || 3 - limit.places.clients.available_permits();
    let permit = admit(&limit, PEER).unwrap();
    let first = request(&permit, "").unwrap();
    assert_eq!(taken(), 1, "the first request uses the permit of its connection");
    let others = [request(&permit, "").unwrap(), request(&permit, "").unwrap()];
    assert_eq!(taken(), 3);
    assert_eq!(request(&permit, "").unwrap_err(), Limit::Connections);
    assert_eq!(admit(&limit, PEER).unwrap_err(), Limit::Connections, "a new connection is refused as well");
    assert_eq!(taken(), 3, "a refusal takes no permit of a client");
    drop(first);
    assert_eq!(taken(), 2);
    drop((others, permit));
    assert_eq!(taken(), 0);
}

#[test]
fn refusals_take_no_place_from_clients() {
    let limit = limit(1, 9);
    let client = admit(&limit, PEER).unwrap();
    let refused: Vec<_> = (0..MAX_REFUSALS).map(|_| limit.admit(PEER, false).unwrap()).collect();
    assert!(refused.iter().all(|admission| matches!(admission, Admission::Refused(..))));
    assert!(limit.admit(PEER, false).is_none() && limit.hold(PEER).is_none());
    drop(client);
    admit(&limit, PEER).unwrap();
}

#[test]
fn connection_of_an_unknown_client_has_a_place() {
    let limit = limit(2, 9);
    let held = [limit.hold(PEER).unwrap(), limit.hold(PEER).unwrap()];
    assert_eq!(admit(&limit, PEER).unwrap_err(), Limit::Connections);
    let refusal = limit.hold(PEER).unwrap();
    assert_eq!(limit.refusals.available_permits(), MAX_REFUSALS - 1);
    drop((held, refusal));
    admit(&limit, PEER).unwrap();
}

#[test]
fn one_address_leaves_places_for_others() {
    let limit = limit(9, 3);
    let other = SocketAddr::from(([127, 0, 0, 2], 9));
    let connections = [admit(&limit, PEER).unwrap(), admit(&limit, PEER).unwrap()];
    let requests = [request(&connections[0], "").unwrap(), request(&connections[0], "").unwrap()];
    assert_eq!(request(&connections[1], "").map(drop), Ok(()), "it uses the place of its connection");
    assert_eq!(request(&connections[0], "").unwrap_err(), Limit::AddressConnections);
    assert_eq!(admit(&limit, PEER).unwrap_err(), Limit::AddressConnections);
    admit(&limit, other).unwrap();
    drop(requests);
    admit(&limit, PEER).unwrap();
    assert_eq!(limit.addresses().refusals().total(Limit::AddressConnections), 2);
}

#[test]
fn clients_behind_a_proxy_count_separately() {
    let limit = limit(9, 1);
    let proxy = SocketAddr::from(([10, 0, 0, 1], 9));
    let connections = [admit(&limit, proxy).unwrap(), admit(&limit, proxy).unwrap()];
    let first = request(&connections[0], "198.51.100.1").unwrap();
    assert_eq!(first.client(), IpAddr::from([198, 51, 100, 1]));
    assert_eq!(request(&connections[1], "198.51.100.1").unwrap_err(), Limit::AddressConnections);
    let second = request(&connections[1], "198.51.100.2").unwrap();
    drop(connections);
    assert_eq!(
        request(&second, "198.51.100.1").unwrap_err(),
        Limit::AddressConnections,
        "the first request of this client is open"
    );
    drop(first);
    assert_eq!(request(&second, "198.51.100.1").map(drop), Ok(()));
}

#[test]
fn read_is_held_until_its_response_is_sent() {
    let limit = limit(9, 9);
    let connections = [admit(&limit, PEER).unwrap(), admit(&limit, PEER).unwrap()];
    let requests = [request(&connections[0], "").unwrap(), request(&connections[1], "").unwrap()];
    requests[0].begin_read().unwrap();
    let response = requests[0].clone();
    assert_eq!(requests[1].begin_read().unwrap_err().limit, Limit::AddressReads);
    drop((response, connections));
    let [first, second] = requests;
    second.begin_read().unwrap_err();
    drop(first);
    second.begin_read().unwrap();
}

#[tokio::test]
async fn last_guard_ends_the_wait_for_streams() {
    let permit = admit(&limit(9, 9), PEER).unwrap();
    permit.streams_ended().await;
    let [one, other] = [permit.stream_guard(), permit.stream_guard()];
    let waiting = permit.streams_ended();
    tokio::pin!(waiting);
    drop(one);
    assert!(futures_util::poll!(waiting.as_mut()).is_pending());
    drop(other);
    waiting.await;
}
