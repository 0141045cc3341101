//! Any text is a definition, or has something wrong with it that can be told; a definition can be started.

#![no_main]

use std::sync::Arc;

use asl::{Definition, Execution, ExecutionStart};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let diagnostics = asl::validate(text);
    let Ok(definition) = Definition::load(text) else {
        assert!(diagnostics.has_errors(), "what does not load has something wrong with it");
        return;
    };
    assert!(!diagnostics.has_errors(), "what loads has nothing wrong with it: {diagnostics}");
    let mut execution = Execution::start(Arc::new(definition), ExecutionStart::default(), jiff::Timestamp::UNIX_EPOCH);
    while execution.poll_command().is_some() {}
});
