//! eventferry-core
