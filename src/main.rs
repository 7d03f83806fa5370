//! The process: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    bentpipe::cli::run()
}
