//! Skill: takes a `Grant`, has the runner execute it in a jail, gives back an `Untrusted<Output>`. The one executor that
//! every path uses. It never decides; it never reads what a skill said as anything but data.

mod yaml;
mod words;
mod server;
mod arguments;
mod catalog;
pub mod offered;
pub mod calls;
mod way;
pub mod standing;
mod execute;

pub use catalog::{Catalog, Found};
pub use execute::{Executor, Handed, Output, RunnerStatus, Untrusted};
pub use words::Words;
