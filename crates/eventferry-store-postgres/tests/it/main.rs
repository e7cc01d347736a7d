//! The PostgreSQL store on real servers: PostgreSQL 18 and 14, a database of its own for each test.

mod books;
mod server;
mod traps;
mod windows;
