//! What a trial ran on.

use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::failure::Failure;

/// The processor, its cores, the memory, the system and the server's version: what figures must be read with.
pub(crate) async fn describe(postgres: &Client) -> Result<Value, Failure> {
    let version: String = postgres.query_one("SHOW server_version", &[]).await?.get(0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    Ok(json!({
        "processor": field("/proc/cpuinfo", "model name"),
        "cores": cores,
        "memory": field("/proc/meminfo", "MemTotal"),
        "system": format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        "postgresql": version,
        "load_before": std::fs::read_to_string("/proc/loadavg").ok().and_then(|load| first_word(&load)),
    }))
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn first_word(text: &str) -> Option<f64> {
    text.split(' ').next()?.parse().ok()
}
