//! eventferry-conformance
