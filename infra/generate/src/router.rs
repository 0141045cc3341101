//! The routes of `cargo lambda watch`: those of API Gateway.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use api::ENDPOINTS;

use crate::Output;
use crate::text::between_marks;

/// The workspace's manifest, which has them.
pub(crate) fn output(root: &Path) -> anyhow::Result<Output> {
    const PATH: &str = "Cargo.toml";
    let text = std::fs::read_to_string(root.join(PATH)).context(PATH)?;
    Ok(Output { path: PATH.to_owned(), text: Some(between_marks(&text, &routes()).context(PATH)?) })
}

fn routes() -> String {
    let mut paths = BTreeMap::<&str, Vec<String>>::new();
    for endpoint in ENDPOINTS {
        let function = format!("{{ function = \"{}\", method = \"{}\" }}", endpoint.name, endpoint.method);
        paths.entry(endpoint.path).or_default().push(function);
    }
    let line = |(path, functions): (&str, Vec<String>)| format!("\"{path}\" = [{}]\n", functions.join(", "));
    let lines: String = paths.into_iter().map(line).collect();
    format!("[workspace.metadata.lambda.watch.router]\n{lines}")
}
