//! Task states.

use serde_json::Value;

use super::reader::Reader;
use crate::expression::expression_text;
use crate::states::{Integration, MAX_TIMEOUT_SECONDS, NOT_PASSED_ON, Task};
use crate::template::Field;

/// What `arn:aws:states:::lambda:invoke` takes as `Arguments`.
const INVOKE_ARGUMENTS: [&str; 6] =
    ["FunctionName", "Payload", "InvocationType", "Qualifier", "ClientContext", "LogType"];

pub(super) fn task(reader: &mut Reader<'_, '_>) -> Option<Task> {
    let resource = reader.required_text("Resource").map(str::to_owned);
    let integration = resource.as_deref().and_then(|resource| integration(reader, resource));
    credentials(reader);
    let arguments = reader.template("Arguments");
    if integration == Some(Integration::Invoke) {
        check_invocation(reader);
    }
    let timeout = reader.integer_field("TimeoutSeconds", 1, MAX_TIMEOUT_SECONDS);
    let heartbeat = reader.integer_field("HeartbeatSeconds", 1, MAX_TIMEOUT_SECONDS);
    if let (Some(Field::Literal(timeout)), Some(Field::Literal(heartbeat))) = (&timeout, &heartbeat)
        && heartbeat >= timeout
    {
        reader.bad("HeartbeatSeconds", "Must be smaller than 'TimeoutSeconds'");
    }
    Some(Task { resource: resource?, integration: integration?, arguments, timeout, heartbeat })
}

fn integration(reader: &mut Reader<'_, '_>, resource: &str) -> Option<Integration> {
    let is_function = resource.starts_with("arn:") && resource.contains(":lambda:") && resource.contains(":function:");
    if resource == "arn:aws:states:::lambda:invoke" {
        return Some(Integration::Invoke);
    }
    if is_function {
        return Some(Integration::Function);
    }
    let at = reader.pointer("Resource");
    let message = if resource.ends_with(".waitForTaskToken") {
        "Task tokens are not supported: a function answers when it is done"
    } else {
        "Only functions are supported: 'arn:aws:states:::lambda:invoke' or a function's ARN"
    };
    reader.diagnostics.not_supported(&at, message);
    None
}

fn credentials(reader: &mut Reader<'_, '_>) {
    let Some(credentials) = reader.get("Credentials") else {
        return;
    };
    let at = reader.pointer("Credentials");
    if credentials.get("RoleArn").is_none() {
        let message = "The field 'RoleArn' is required but was missing";
        reader.diagnostics.schema(&at, message);
    } else {
        let message = "Other roles than the machine's own are not supported";
        reader.diagnostics.not_supported(&at, message);
    }
}

/// What can be told of an invocation's arguments before they are evaluated.
fn check_invocation(reader: &mut Reader<'_, '_>) {
    let arguments = match reader.get("Arguments") {
        Some(Value::Object(arguments)) => arguments,
        // Then the state's input, or the expression's value, names the function.
        None => return,
        Some(Value::String(text)) if expression_text(text).is_some() => return,
        Some(_) => return reader.bad("Arguments", "Expected an object or a JSONata expression"),
    };
    let at = reader.pointer("Arguments");
    if !arguments.get("FunctionName").is_some_and(Value::is_string) {
        let message = "The field 'FunctionName' is required but was missing";
        reader.diagnostics.schema(&at, message);
    }
    for name in arguments.keys().filter(|name| !INVOKE_ARGUMENTS.contains(&name.as_str())) {
        let message = format!("The field '{name}' is not supported by Step Functions");
        reader.diagnostics.schema(&at, message);
    }
    for name in NOT_PASSED_ON.into_iter().filter(|name| arguments.contains_key(*name)) {
        let message = "A function is called by its name, with its payload; nothing else is passed on";
        reader.diagnostics.not_supported(&format!("{at}/{name}"), message);
    }
    if arguments.get("InvocationType").is_some_and(|kind| kind != "RequestResponse") {
        let message = "Only the invocation type 'RequestResponse' is supported: a task waits for its answer";
        reader.diagnostics.not_supported(&format!("{at}/InvocationType"), message);
    }
}
