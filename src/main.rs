//! Process start and exit code; everything else is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    waxseal::cli::run(std::env::args_os())
}
