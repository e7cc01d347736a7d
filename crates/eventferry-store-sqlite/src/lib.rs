//! eventferry-store-sqlite
