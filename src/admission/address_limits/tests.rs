use super::*;

fn limits(connections: usize, rate: u32) -> Arc<AddressLimits> {
    let (rate, volume) = (NonZeroU32::new(rate).unwrap(), NonZeroU32::new(600).unwrap());
    let options = AddressLimits::none().options;
    Arc::new(AddressLimits::new(AddressOptions { connections, rate, volume, reads: 2, all_reads: 3, ..options }))
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn each_address_has_its_own_places() {
    let limits = limits(2, 1);
    let take = |text: &str| limits.take_place(address(text));
    let places = [take("2001:db8::1").unwrap(), take("2001:db8::ffff").unwrap()];
    assert_eq!(take("2001:db8::2").unwrap_err().limit, Limit::AddressConnections);
    let other = take("2001:db8:0:1::1").unwrap();
    assert_eq!(limits.held().len(), 2);
    drop((places, other));
    assert!(limits.held().is_empty(), "addresses without clients are forgotten");
    take("2001:db8::2").unwrap();
}

#[test]
fn rate_allows_a_burst_and_says_when_to_return() {
    let limits = limits(1, 2);
    let one = address("198.51.100.1");
    for _ in 0..20 {
        limits.check_rate(one).unwrap();
    }
    let refusal = limits.check_rate(one).unwrap_err();
    assert_eq!(refusal.limit, Limit::AddressRate);
    assert!(refusal.retry_after <= Duration::from_millis(500), "{refusal:?}");
    limits.check_rate(address("198.51.100.2")).unwrap();
}

#[test]
fn volume_counts_entries_of_any_request() {
    let limits = limits(1, 1);
    let [one, other] = ["198.51.100.1", "198.51.100.2"].map(address);
    limits.charge_volume(one, 0).unwrap();
    limits.charge_volume(one, 590).unwrap();
    let refusal = limits.charge_volume(one, 20).unwrap_err();
    assert_eq!(refusal.limit, Limit::AddressVolume);
    assert!(refusal.retry_after <= Duration::from_secs(1), "{refusal:?}");
    limits.charge_volume(other, usize::MAX).unwrap();
    limits.charge_volume(other, 1).unwrap_err();
}

#[test]
fn reads_are_bounded_by_address_and_in_all() {
    let limits = limits(1, 1);
    let take = |text: &str| limits.take_read(address(text)).map_err(|refusal| refusal.limit);
    let one = [take("198.51.100.1").unwrap(), take("198.51.100.1").unwrap()];
    assert_eq!(take("198.51.100.1").unwrap_err(), Limit::AddressReads);
    let _other = take("198.51.100.2").unwrap();
    assert_eq!(take("198.51.100.3").unwrap_err(), Limit::Reads);
    assert_eq!(limits.held().len(), 2);
    drop(one);
    assert_eq!(limits.held().len(), 1, "addresses without places are forgotten");
    take("198.51.100.3").unwrap();
}

#[test]
fn new_client_ids_have_two_limits() {
    let [client_ids, all_client_ids] = [2, 3].map(|number| NonZeroU32::new(number).unwrap());
    let options = AddressOptions { client_ids, all_client_ids, ..AddressLimits::none().options };
    let limits = AddressLimits::new(options);
    let check = |text: &str| limits.check_client_id(address(text)).map_err(|refusal| refusal.limit);
    let checked = ["198.51.100.1", "198.51.100.1", "198.51.100.1", "198.51.100.2", "198.51.100.3"].map(check);
    let refused = [Err(Limit::AddressClientIds), Ok(()), Err(Limit::ClientIds)];
    assert_eq!(checked[..2], [Ok(()), Ok(())]);
    assert_eq!(checked[2..], refused);
}

#[test]
fn usage_on_another_replica_counts() {
    let [client_ids, all_client_ids] = [4, 6].map(|number| NonZeroU32::new(number).unwrap());
    let [here, there] = [(); 2].map(|()| {
        let options = AddressOptions { client_ids, all_client_ids, ..limits(3, 2).options.clone() };
        let limits = Arc::new(AddressLimits::new(options));
        limits.set_shared(true);
        limits
    });
    let (one, other) = (address("198.51.100.1"), address("198.51.100.2"));
    let places: Vec<_> = (0..3).map(|_| there.take_place(one).unwrap()).collect();
    (0..15).for_each(|_| there.check_rate(one).unwrap());
    there.charge_volume(one, 500).unwrap();
    (0..3).for_each(|_| there.check_client_id(one).unwrap());
    here.charge(&there.report().unwrap());
    assert_eq!(here.take_place(one).unwrap_err().limit, Limit::AddressConnections);
    assert!(here.held().is_empty(), "nothing is kept for a rejected address");
    (0..5).for_each(|_| here.check_rate(one).unwrap());
    assert_eq!(here.check_rate(one).unwrap_err().limit, Limit::AddressRate);
    assert_eq!(here.charge_volume(one, 200).unwrap_err().limit, Limit::AddressVolume);
    here.check_client_id(one).unwrap();
    assert_eq!(here.check_client_id(one).unwrap_err().limit, Limit::AddressClientIds);
    // Another address has its own places. The limit of new client_ids of all addresses together applies to it, too.
    here.take_place(other).unwrap();
    (0..2).for_each(|_| here.check_client_id(other).unwrap());
    assert_eq!(here.check_client_id(other).unwrap_err().limit, Limit::ClientIds);
    drop(places);
    assert_eq!(there.report(), None, "everything has been reported");
    // Without reports, this replica decides alone.
    here.set_shared(false);
    here.take_place(one).unwrap();
}

#[test]
fn what_exceeds_a_limit_is_not_charged() {
    let limits = limits(1, 1);
    limits.set_shared(true);
    let report = |process: &str, volume: u32| {
        format!(r#"{{"process":"{process}","addresses":[["198.51.100.1",{{"volume":{volume}}}]]}}"#)
    };
    limits.charge_volume(address("198.51.100.1"), 100).unwrap();
    limits.charge(&report("p", u32::MAX));
    let refusal = limits.charge_volume(address("198.51.100.1"), 600).unwrap_err();
    assert!(refusal.retry_after <= Duration::from_secs(60), "{refusal:?}");
    limits.charge("nonsense");
}

#[tokio::test(start_paused = true)]
async fn address_with_a_full_rate_is_forgotten() {
    let limits = limits(1, 1000);
    for number in 0..1000_u32 {
        limits.check_rate(IpAddr::V4(number.into())).unwrap();
    }
    assert_eq!(limits.rate.len(), 1000);
    // The limiter does not use tokio's clock. By its own clock, each address has its full rate again after a
    // millisecond.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(20) {
        std::thread::yield_now();
    }
    tokio::time::timeout(FORGET_EVERY * 2, limits.keep_small()).await.unwrap_err();
    assert_eq!(limits.rate.len(), 0);
}
