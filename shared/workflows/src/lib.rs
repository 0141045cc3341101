//! The catalogue of workflows: for each its state machine, its steps for progress, and how its end reads.

mod catalogue;
mod end;
mod retry_policy;

pub use catalogue::{ALL, StepEffect, Workflow, WorkflowStep, activities, function_of, workflow};
pub use end::{UnsuccessfulEnd, unsuccessful_end};
pub use retry_policy::{RetryPolicies, RetryPolicy};
