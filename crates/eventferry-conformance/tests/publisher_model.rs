//! The model publisher keeps every clause. This file is also the smallest example of a run.

use std::process::ExitCode;

use eventferry_conformance::publisher::model::Model;

fn main() -> ExitCode {
    eventferry_conformance::publisher::main(Model::default())
}
