//! The state machines.

use anyhow::ensure;
use contracts::WorkflowKind;
use workflows::{RetryPolicies, Workflow};

use crate::text::{fill, pascal};

/// A state machine.
pub(crate) struct Machine {
    /// E.g. `user-onboarding`.
    pub(crate) name: String,
    /// In `statemachines/`.
    file: String,
    /// The resources of the functions that it invokes, without `Function`.
    functions: Vec<String>,
    /// Whether it has a distributed Map.
    is_distributed: bool,
}

/// Whether an activity does batches of a distributed Map.
pub(crate) fn does_batches(activity: &str) -> bool {
    available().any(|workflow| workflow.batches().contains(activity))
}

/// The workflows that are available.
fn available() -> impl Iterator<Item = &'static Workflow> {
    workflows::ALL.iter()
}

/// The name of the machine of a workflow, behind the stack's.
fn name(kind: WorkflowKind) -> String {
    kind.as_str().replace('_', "-")
}

/// The names of the machines of those of these workflows that are available.
pub(crate) fn names(kinds: &[WorkflowKind]) -> Vec<String> {
    available().map(|workflow| workflow.kind).filter(|kind| kinds.contains(kind)).map(name).collect()
}

/// The ARN of a machine. It is put together from names, so that nothing waits for the machine, and nothing is a cycle.
pub(crate) fn arn(name: &str) -> String {
    format!(
        "!Sub \"arn:${{AWS::Partition}}:states:${{AWS::Region}}:${{AWS::AccountId}}:stateMachine:${{AWS::StackName}}-{name}\""
    )
}

/// The ARNs of all executions of a machine.
pub(crate) fn executions_arn(name: &str) -> String {
    format!(
        "!Sub \"arn:${{AWS::Partition}}:states:${{AWS::Region}}:${{AWS::AccountId}}:execution:${{AWS::StackName}}-{name}:*\""
    )
}

/// Every state machine.
pub(crate) fn all() -> anyhow::Result<Vec<Machine>> {
    available().map(machine).collect()
}

fn machine(workflow: &Workflow) -> anyhow::Result<Machine> {
    let definition = workflow.deployed(&RetryPolicies::default());
    let functions = invoked(&definition);
    for function in &functions {
        let is_known = activities::ALL.iter().any(|activity| pascal(&activity.name.replace('_', "-")) == *function);
        ensure!(is_known, "{} invokes {function}, which is no activity", workflow.file());
    }
    let is_distributed = definition.contains("\"DISTRIBUTED\"");
    Ok(Machine { name: name(workflow.kind), file: workflow.file(), functions, is_distributed })
}

/// What a definition invokes: its `${...FunctionArn}`, each once, in order.
fn invoked(definition: &str) -> Vec<String> {
    let mut functions = Vec::new();
    let placeholders = definition.split("${").skip(1).filter_map(|rest| rest.split('}').next());
    for function in placeholders.filter_map(|placeholder| placeholder.strip_suffix("FunctionArn")) {
        if !functions.iter().any(|known| known == function) {
            functions.push(function.to_owned());
        }
    }
    functions
}

impl Machine {
    /// The machine, its log group and its role.
    pub(crate) fn resources(&self) -> anyhow::Result<String> {
        let lines = |line: &dyn Fn(&String) -> String| self.functions.iter().map(line).collect::<String>();
        let substitutions = lines(&|function| format!("{function}FunctionArn: !GetAtt {function}Function.Arn\n"));
        let bucket = if self.is_distributed { "BucketName: !Ref Bucket\n" } else { "" };
        let substitutions = substitutions + bucket;
        let functions = lines(&|function| format!("- !GetAtt {function}Function.Arn\n"));
        let arns = [("machine", &*arn(&self.name)), ("executions", &*executions_arn(&self.name))];
        let map_runs = fill(include_str!("../../template/each/map-runs.yaml"), &arns)?;
        fill(
            include_str!("../../template/each/state-machine.yaml"),
            &[
                ("id", &pascal(&self.name)),
                ("name", &self.name),
                ("file", &self.file),
                ("substitutions", &substitutions),
                ("functions", &functions),
                ("map_runs", if self.is_distributed { &map_runs } else { "" }),
            ],
        )
    }

    /// What the stack says of it.
    pub(crate) fn output(&self) -> String {
        let id = pascal(&self.name);
        format!("{id}StateMachineArn: {{Description: The state machine {}, Value: !Ref {id}StateMachine}}\n", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_names_its_functions() {
        let definition =
            r#"{"A": "${CreateFunctionArn}", "B": "${SendFunctionArn}", "C": "${CreateFunctionArn} ${other}"}"#;
        assert_eq!(invoked(definition), ["Create", "Send"]);
    }

    #[test]
    fn a_distributed_map_may_run_its_own_machine() {
        let machine = |is_distributed| Machine {
            name: "data-migration".to_owned(),
            file: "data-migration.asl.json".to_owned(),
            functions: vec!["Create".to_owned()],
            is_distributed,
        };
        let with = machine(true).resources().unwrap();
        assert!(with.contains("Action: [states:StartExecution]"), "{with}");
        assert!(with.contains(":stateMachine:${AWS::StackName}-data-migration\""), "{with}");
        assert!(!machine(false).resources().unwrap().contains("states:StartExecution"));
    }
}
