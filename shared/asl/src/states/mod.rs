//! The types of states, one file each.
//!
//! A state's `enter` does what can be done at once and says what comes next.

mod choice;
mod fail;
mod leave;
mod machine;
mod map;
mod outcome;
mod parallel;
mod pass;
mod succeed;
mod task;
mod wait;

pub(crate) use choice::{Choice, Condition, Rule};
pub(crate) use fail::Fail;
pub(crate) use leave::{Exit, Leave};
pub(crate) use machine::Machine;
pub use map::ResultTarget;
pub(crate) use map::{Children, Distributed, ItemReader, Items, Iterations, MAX_ITEMS, Map, ResultWriter, Tolerated};
pub(crate) use outcome::StateOutcome;
pub(crate) use parallel::Parallel;
pub(crate) use pass::enter as pass;
pub(crate) use succeed::enter as succeed;
pub(crate) use task::{FunctionCall, Integration, MAX_TIMEOUT_SECONDS, NOT_PASSED_ON, Task};
pub(crate) use wait::{MAX_WAIT_SECONDS, Wait, parse_timestamp, resume as wait_is_over};
