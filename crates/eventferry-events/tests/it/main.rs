//! Typed events as applications and consumers see them, and what the compiler says of structs that are none.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod checks;
mod decode;
mod derive;
mod export;
mod folder;
mod registry;
mod shop;
