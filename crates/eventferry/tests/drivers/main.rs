//! One list of clauses for every driver by which an application enqueues: atomicity, bytes, refusals, bulk.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clauses;
mod database;
mod driver;
mod emit;
mod examples;
mod round_trips;

/// Every clause for every driver, a test each.
macro_rules! table {
    ($($name:ident: $driver:expr;)*) => {$(
        mod $name {
            use super::{clauses, driver};

            #[tokio::test(flavor = "multi_thread")]
            async fn what_is_committed_is_there_in_order_and_byte_for_byte() {
                clauses::committed(&$driver).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_is_rolled_back_never_was() {
                clauses::rolled_back(&$driver).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_a_dropped_transaction_enqueued_never_was() {
                clauses::dropped(&$driver).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_released_savepoint_keeps_its_events() {
                clauses::savepoint_released(&$driver).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_savepoint_that_is_rolled_back_or_dropped_takes_its_events_along() {
                clauses::savepoint_undone(&$driver).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn refused_events_add_nothing_and_the_transaction_goes_on() {
                clauses::refused(&$driver).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn what_the_database_refuses_is_its_fault_and_adds_nothing() {
                clauses::refused_by_database(&$driver).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn values_of_types_are_enqueued_and_interceptors_see_them() {
                clauses::typed(&$driver).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn ten_thousand_events_are_enqueued_in_order() {
                clauses::many(&$driver).await;
            }
        }
    )*};
}

table! {
    tokio_postgres: driver::TokioPostgres;
    tokio_postgres_prepared: driver::TokioPostgresPrepared;
    deadpool_postgres: driver::DeadpoolPostgres;
    sqlx: driver::Sqlx;
    sqlx_08: driver::Sqlx08;
    diesel: driver::Diesel;
    diesel_async: driver::DieselAsync;
    sea_orm: driver::SeaOrm;
    rusqlite: driver::Rusqlite;
    sqlx_sqlite: driver::SqlxSqlite;
    sea_orm_sqlite: driver::SeaOrmSqlite;
}
