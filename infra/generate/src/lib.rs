//! What only repeats other lists is written from them: the functions' sources and manifests, the routes of `cargo lambda
//! watch`, and template.yaml.
//!
//! The lists are `api::ENDPOINTS`, `activities::ALL`, the workflows, and the functions that events start (`events`). What
//! the template has besides, and how a function, a state machine or an alarm looks in it, is in `infra/template/`.

mod alarms;
mod events;
mod functions;
mod grants;
mod machines;
mod router;
mod sources;
mod template;
mod text;

use std::path::Path;

use anyhow::Context as _;

/// A file as it should be.
struct Output {
    /// Below the project's root.
    path: String,
    /// What it holds; none if it should not exist.
    text: Option<String>,
}

fn outputs(root: &Path) -> anyhow::Result<Vec<Output>> {
    let functions = functions::all(events::all())?;
    let mut outputs = sources::outputs(root, &functions)?;
    outputs.push(router::output(root)?);
    outputs.push(Output { path: "template.yaml".to_owned(), text: Some(template::text(&functions)?) });
    Ok(outputs)
}

fn differing(root: &Path) -> anyhow::Result<Vec<Output>> {
    let differs = |output: &Output| std::fs::read_to_string(root.join(&output.path)).ok() != output.text;
    Ok(outputs(root)?.into_iter().filter(differs).collect())
}

/// The files that differ from what would be written, by their paths below the project's root.
pub fn stale(root: &Path) -> anyhow::Result<Vec<String>> {
    Ok(differing(root)?.into_iter().map(|output| output.path).collect())
}

/// Writes the files that differ, and removes those that should not exist: their paths below the project's root.
pub fn write(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut written = Vec::new();
    for Output { path, text } in differing(root)? {
        let file = root.join(&path);
        let done = match text {
            Some(text) => std::fs::write(&file, text),
            None => std::fs::remove_file(&file),
        };
        done.with_context(|| path.clone())?;
        written.push(path);
    }
    Ok(written)
}
