//! Typed events as applications and consumers see them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checks;
mod decode;
mod derive;
mod export;
mod folder;
mod registry;
mod shop;
