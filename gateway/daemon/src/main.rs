//! The program `openclaw`: the gateway (`serve`) and every command of the operator.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    openclaw::command::main()
}
