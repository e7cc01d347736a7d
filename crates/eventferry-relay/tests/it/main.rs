//! The engine on the model store and a broker in memory, in virtual time.

mod broker;
mod scene;

mod builder;
mod dead_letters;
mod figures;
mod listeners;
mod retries;
mod topics;
