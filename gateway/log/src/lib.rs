//! Log lines of our processes, all in one form. Of libraries nothing is written: theirs may show URLs and headers.

use std::io;

use openclaw_wire::config::{Level, Log, LogFormat};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    filter::Targets, fmt::writer::BoxMakeWriter, layer::SubscriberExt, util::SubscriberInitExt,
};

/// Starts logging to standard error. `program` is the crate whose lines are written (`env!("CARGO_CRATE_NAME")`).
pub fn start(log: &Log, program: &str) {
    start_into(log, program, BoxMakeWriter::new(io::stderr), false);
}

/// Starts logging into `writer`; `colours` are for terminals.
pub fn start_into(log: &Log, program: &str, writer: BoxMakeWriter, colours: bool) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
    };
    let ours = Targets::new().with_target(program, level);
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    let registry = tracing_subscriber::registry().with(ours);
    match log.format {
        LogFormat::Text => registry.with(lines.with_ansi(colours)).init(),
        LogFormat::Json => registry.with(lines.json().with_ansi(false)).init(),
    }
}
