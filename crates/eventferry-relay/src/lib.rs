//! eventferry-relay
