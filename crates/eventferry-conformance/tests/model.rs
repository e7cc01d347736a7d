//! The model keeps every clause. This file is also the smallest example of a run.

use std::process::ExitCode;

use eventferry_conformance::model::Model;

fn main() -> ExitCode {
    eventferry_conformance::main(Model::default())
}
