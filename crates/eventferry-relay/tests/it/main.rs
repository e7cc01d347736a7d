//! The engine on the model store and a broker in memory, in virtual time.

mod broker;
mod scene;
mod shaky;

mod builder;
mod dead_letters;
mod figures;
mod listeners;
mod outages;
mod retries;
mod serializing;
mod topics;
