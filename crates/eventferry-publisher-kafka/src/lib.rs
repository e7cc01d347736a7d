//! eventferry-publisher-kafka
