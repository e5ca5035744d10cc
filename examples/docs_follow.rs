//! `cargo add btcfeed --git REPOSITORY_URL --no-default-features --features client`
//! `cargo add tokio --features full`
use btcfeed::client::{Client, Update};
use btcfeed::tick::Currency;

#[tokio::main]
async fn main() -> Result<(), btcfeed::client::Error> {
    let client = Client::builder("http://localhost:8080").currencies([Currency::Usd, Currency::Eur]).build()?;
    let mut updates = client.subscribe();
    while let Some(update) = updates.next().await {
        match update? {
            Update::Tick(tick) => println!("{} {:?}", tick.id.timedate(), tick.prices),
            Update::Gap(gap) => println!("missing between {} and {}: {}", gap.after, gap.before, gap.reason),
            _ => {}
        }
    }
    Ok(())
}
