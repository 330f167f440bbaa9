//! The command line of the test engine.

use std::process::ExitCode;

fn main() -> ExitCode {
    vmexternref_engine::run_command_line(std::env::args_os())
}
