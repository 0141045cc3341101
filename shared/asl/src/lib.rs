//! An interpreter for the Amazon States Language, JSONata dialect, without any input or output of its own.
//!
//! [`Definition::load`] parses, validates and compiles a state machine once. An [`Execution`] runs it: it is told what
//! happened and says what to do, and never sees a clock, a socket, a file or a random number that it was not handed.
//! So the same events at the same times always lead to the same commands, and an execution can be rebuilt from a
//! journal of its events, or moved elsewhere as a [`Snapshot`].
//!
//! Polling order, in the manner of sans-IO protocol libraries: after [`Execution::start`] and after every
//! [`Execution::handle_event`] and [`Execution::handle_timeout`],
//!
//! 1. drain [`Execution::poll_command`] and carry the commands out; several may be under way at a time,
//! 2. drain [`Execution::poll_trace`], which tells what happened inside, in AWS's words, for tests and people: what is
//!    not polled is kept,
//! 3. look at [`Execution::outcome`]: once it is there, no further command comes,
//! 4. otherwise call [`Execution::handle_timeout`] when the time that [`Execution::poll_timeout`] names has come, and
//!    [`Execution::handle_event`] when an attempt ends, whichever is first.
//!
//! An attempt's end may be reported late or twice: what is not waited for changes nothing.
//!
//! ```
//! use std::sync::Arc;
//! use asl::{Command, Definition, Event, Execution, Outcome, ExecutionStart};
//! use serde_json::json;
//!
//! let definition = Definition::load(r#"{
//!     "QueryLanguage": "JSONata", "StartAt": "Greet",
//!     "States": {"Greet": {
//!         "Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "End": true,
//!         "Arguments": {"FunctionName": "greet", "Payload": {"name": "{% $states.input.name %}"}},
//!         "Output": "{% $states.result.Payload %}"
//!     }}
//! }"#)?;
//! let start = ExecutionStart { input: json!({"name": "Ada"}), execution_id: "e-1".into(), ..ExecutionStart::default() };
//! let now = jiff::Timestamp::UNIX_EPOCH;
//! let mut execution = Execution::start(Arc::new(definition), start, now);
//! let Some(Command::ScheduleTask { id, function, payload, .. }) = execution.poll_command() else { panic!() };
//! assert_eq!((function.as_str(), payload), ("greet", json!({"name": "Ada"})));
//! execution.handle_event(Event::TaskSucceeded { id, result: json!("Hello, Ada!") }, now);
//! assert_eq!(execution.outcome(), Some(&Outcome::Succeeded { output: json!("Hello, Ada!") }));
//! # Ok::<(), asl::Diagnostics>(())
//! ```
//!
//! Task, Choice, Pass, Wait, Succeed, Fail, Parallel and Map are interpreted, with Retry, Catch, Assign, Output,
//! Arguments, Items, ItemSelector, ItemReader (JSON, JSON Lines, CSV), ResultWriter, MaxConcurrency, ToleratedFailure*,
//! time limits and the context object, and of Step Functions' quotas the 256 KiB of a payload and the 25,000 events of a
//! history. A Task calls a function, by `arn:aws:states:::lambda:invoke` or by its ARN; *time limits are the caller's to
//! enforce*, from the moment the attempt really begins. Branches and iterations go on at the same time; of one execution
//! 500 attempts are under way at most, the others wait for them. The iterations of a `DISTRIBUTED` Map are executions of
//! their own: an [`Execution`] asks for them as it asks for everything, and an [`ExecutionTree`] runs them, so that only
//! items to read, results to write and functions to call are left to do outside.
//!
//! An expression ends as `States.QueryEvaluationError` when it takes too many steps, nests too deeply, or builds too long
//! a text or array or too large a result. These limits are counted, so they do not depend on the machine. They do not
//! bound everything: one step may call a function that goes through much, and what an evaluation keeps in memory has no
//! limit as a whole. Whoever drives executions may therefore give up an evaluation that takes too long
//! ([`Definition::stall_after`]). That is no error of the state, as it depends on the machine: nothing comes of it, and
//! [`Execution::stalled`] says why. It happens between two steps; a single call of a function is waited for.
//!
//! Refused, with the reason: JSONPath definitions, other integrations, nested executions, task tokens, `ItemBatcher`,
//! children of type EXPRESS, `Credentials`, and a time limit on the whole machine.

mod children;
mod definition;
mod edge;
mod error;
mod execution;
mod expression;
mod functions;
mod in_place;
mod items;
mod numbers;
mod patience;
mod random;
mod results;
mod retry;
mod scope;
mod simulation;
mod size;
mod start;
mod states;
mod template;
mod tree;

pub use children::Children;
pub use definition::{Definition, Diagnostic, Diagnostics, Severity, validate};
pub use edge::Edge;
pub use execution::{Command, Event, Execution, MapRun, MapRunId, Outcome, Snapshot, TaskId, Trace};
pub use items::{ItemDecoder, ItemFormat, ItemSource, ItemsError};
pub use patience::RunLong;
pub use results::ResultFiles;
pub use simulation::{Happening, World, simulate};
pub use size::bytes as payload_bytes;
pub use start::ExecutionStart;
pub use states::ResultTarget;
pub use tree::{ChildEnd, ChildPath, ExecutionTree, Told, WantedItem};

/// Largest input, output or result, in bytes of JSON (Step Functions' quota on payloads).
pub const MAX_PAYLOAD_BYTES: usize = 262_144;
