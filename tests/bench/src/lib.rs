//! What benches have in common: what they run, how they measure and how they report.

mod measured;
mod server;
mod steps;

pub use measured::{Measured, cpu_seconds, fresh, load_average, now, number, report_of};
pub use server::Server;
pub use steps::{ACTIVITY, LAST_STEP, STEPS, chain, execution, task};
