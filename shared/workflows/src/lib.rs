//! The catalogue of workflows: for each its state machine, its steps for progress, and how its end reads.

mod catalogue;
mod end;
mod retry_policy;

pub use catalogue::{Step, Workflow, activities, workflow};
pub use end::{Ended, ended};
pub use retry_policy::RetryPolicy;
