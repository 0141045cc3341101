//! Random machines on our interpreter and on moto's: both come to the same end. moto's is LocalStack's, which was tested
//! against AWS, and nobody here wrote it. Every second machine has variables, but then no distributed Map, whose children moto
//! shows the variables around it, as AWS does not. The varied machines are not for it: it lets a Pass state's Output see what
//! the same state assigns, ends a Map at its first failure however many it tolerates, and which of two branches that fail
//! with errors of their own is first is a matter of its threads. Retries stand on Tasks, as a Map or Parallel that starts over
//! asks again whatever had been asked by then, which is a matter of them too.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asl::{Command, Definition, ExecutionStart, ExecutionTree, Outcome, World};
use async_trait::async_trait;
use aws_sdk_sfn::types::ExecutionStatus;
use contracts::Timestamp;
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use crate::aws::{self, Aws};
use crate::interpreter::dice::Dice;
use crate::interpreter::machines;
use crate::lambda::{Around, Deployment, Lambda, Reply};
use crate::process::pause;

const SEED: u64 = 31;
/// How many, unless `MACHINES` says otherwise.
const MACHINES: u64 = 60;
const PREFIX: &str = "differential";

/// How often each call was made: machine, state, iteration.
type Calls = Mutex<BTreeMap<String, usize>>;

/// The one function of all machines.
#[derive(Default)]
struct Function(Calls);

#[async_trait]
impl Around for Function {
    async fn invoke(&self, _lambda: &Lambda, function: &str, payload: Value) -> Reply {
        let Some(seed) = function.rsplit_once("--f").and_then(|(_, seed)| seed.parse().ok()) else {
            return Ok(Value::Null);
        };
        answer(&self.0, seed, &payload).map_err(|(error, cause)| json!({ "errorType": error, "errorMessage": cause }))
    }
}

fn answer(calls: &Calls, seed: u64, payload: &Value) -> Result<Value, (String, String)> {
    let call = {
        let mut calls = calls.lock().unwrap();
        let count = calls.entry(format!("{seed} {} {}", payload["state"], payload["k"])).or_default();
        *count += 1;
        *count - 1
    };
    machines::answer(seed, payload, call)
}

/// Our side.
struct Scripted {
    calls: Calls,
    seed: u64,
}

impl World for Scripted {
    fn call(&mut self, task: &Command) -> (Duration, Result<Value, (String, String)>) {
        let Command::ScheduleTask { payload, .. } = task else { panic!("{task:?} is no call") };
        let failed = |(error, cause): (String, String)| {
            let cause = json!({ "errorType": error, "errorMessage": cause }).to_string();
            (error, cause)
        };
        (Duration::ZERO, answer(&self.calls, self.seed, payload).map_err(failed))
    }

    fn read(&mut self, _arguments: &Value) -> Result<Vec<u8>, String> {
        Err("there are no objects".to_owned())
    }

    fn write(&mut self, _bucket: &str, _key: &str, _body: Vec<u8>) {}
}

fn ours(machine: &Value, seed: u64) -> Value {
    let definition = Arc::new(Definition::load(&machine.to_string()).unwrap());
    let start = ExecutionStart { input: input(), seed, ..ExecutionStart::default() };
    let tree = ExecutionTree::start(definition, start, Timestamp::UNIX_EPOCH);
    let mut world = Scripted { calls: Calls::default(), seed };
    match asl::simulate(tree, Timestamp::UNIX_EPOCH, &mut world).unwrap() {
        Outcome::Succeeded { output } => json!({ "output": output }),
        Outcome::Failed { error, cause } => ended(error.as_deref(), cause.as_deref()),
    }
}

async fn theirs(aws: &Aws, machine: &Value, seed: u64) -> Value {
    let created = aws
        .sfn
        .create_state_machine()
        .name(format!("{PREFIX}-{seed}"))
        .definition(machine.to_string())
        .role_arn("arn:aws:iam::123456789012:role/tests")
        .send()
        .await
        .unwrap();
    let start = aws.sfn.start_execution().state_machine_arn(created.state_machine_arn).input(input().to_string());
    let execution = start.send().await.unwrap().execution_arn;
    loop {
        let described = aws.sfn.describe_execution().execution_arn(&execution).send().await.unwrap();
        match described.status() {
            ExecutionStatus::Running => pause(Duration::from_millis(100)).await,
            ExecutionStatus::Succeeded => {
                let output = serde_json::from_str::<Value>(described.output().unwrap_or_default());
                return json!({ "output": output.unwrap() });
            }
            _ => return ended(described.error(), described.cause()),
        }
    }
}

fn input() -> Value {
    json!({ "n": 1, "k": "" })
}

/// Causes quote the number of an event, which depends on who is faster, and moto words an evaluation's its own way.
fn ended(error: Option<&str>, cause: Option<&str>) -> Value {
    let is_evaluation = error == Some("States.QueryEvaluationError");
    let cause = cause.filter(|cause| !cause.is_empty() && !is_evaluation);
    let cause = cause.map(|cause| serde_json::from_str(cause).unwrap_or_else(|_| json!(cause)));
    json!({ "error": error, "cause": cause })
}

/// Numbers by value, as AWS compares them.
fn is_alike(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_alike(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_alike(a, b)))
        }
        (a, b) => a == b,
    }
}

#[test]
fn random_machines_end_alike() {
    let count = machines_wanted();
    aws::run(|aws| async move {
        println!("seed {SEED}, {count} machines");
        let around: Option<Arc<dyn Around>> = Some(Arc::new(Function::default()));
        let deployment =
            Deployment { environment: Vec::new(), overrides: Vec::new(), around, claims: Mutex::default() };
        aws.lambda.deploy(PREFIX, deployment);
        let compare = |seed: u64| async move {
            let has_variables = !seed.is_multiple_of(2);
            let make = if has_variables { machines::machine_with_variables } else { machines::machine };
            let machine = make(&mut Dice(seed), &format!("{PREFIX}--f{seed}"));
            let (mut ours, mut theirs) = (ours(&machine, seed), theirs(aws, &machine, seed).await);
            let text = machine.to_string();
            let has_several = text.contains(r#""Parallel""#) || text.contains(r#""Map""#);
            if has_variables && has_several {
                // Which of two failures comes first depends on how long evaluations take; only their causes tell them apart.
                for end in [&mut ours, &mut theirs] {
                    end.as_object_mut().unwrap().remove("cause");
                }
            }
            let is_alike = is_alike(&ours, &theirs);
            (!is_alike).then(|| format!("seed {seed}\n  ours   {ours}\n  theirs {theirs}\n{machine}"))
        };
        let found = stream::iter(SEED..SEED + count).map(compare).buffer_unordered(16);
        let different: Vec<String> = found.filter_map(async |found| found).collect().await;
        aws.lambda.remove(PREFIX);
        assert!(different.is_empty(), "{} of {count} differ:\n{}", different.len(), different.join("\n\n"));
    });
}

#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn machines_wanted() -> u64 {
    std::env::var("MACHINES").ok().and_then(|count| count.parse().ok()).unwrap_or(MACHINES)
}
