//! `cargo add reqwest`
//! `cargo add tokio --features full`
#[tokio::main]
async fn main() -> Result<(), reqwest::Error> {
    let answer = reqwest::get("http://localhost:8080/v1/prices/latest").await?;
    println!("{}", answer.text().await?);
    Ok(())
}
