//! eventferry
