//! The contract's clauses against PostgreSQL 18 read through windows of its table: see `eventferry-conformance`.

mod subject;

use std::process::ExitCode;

use eventferry_store_postgres::FeedChoice;

fn main() -> ExitCode {
    subject::run(FeedChoice::Table)
}
