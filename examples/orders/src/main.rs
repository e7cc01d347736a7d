//! A service to copy from: orders over HTTP, and an event for each in the same transaction. See its README.

use std::error::Error;

use orders_example::{Config, Service};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let config = Config::from_env()?;
    let listener = TcpListener::bind(&config.listen).await?;
    let service = Service::prepare(&config).await?;
    println!("orders at http://{}/orders", listener.local_addr()?);
    service.run(listener, stopped()).await
}

/// Ready once somebody wants the program to end: Ctrl-C, or what a container's manager sends.
async fn stopped() {
    use tokio::signal::unix::{SignalKind, signal};

    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        },
        Err(_) => drop(interrupted.await),
    }
}
