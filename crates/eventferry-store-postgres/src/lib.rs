//! eventferry-store-postgres
