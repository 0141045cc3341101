//! The functions' sources, and their entries in the manifests.

use std::path::Path;

use anyhow::Context as _;

use crate::Output;
use crate::functions::{Function, Package};
use crate::text::between_marks;

/// All sources and manifests; a source of a function that is gone should not exist.
pub(crate) fn outputs(root: &Path, functions: &[Function]) -> anyhow::Result<Vec<Output>> {
    let mut outputs = Vec::new();
    for package in Package::ALL {
        let mut own: Vec<&Function> = functions.iter().filter(|function| function.package == package).collect();
        own.sort_by_key(|function| &function.name);
        outputs.push(manifest(root, package, &own)?);
        outputs.extend(
            own.iter().map(|function| Output { path: path(package, &function.name), text: Some(source(function)) }),
        );
        outputs.extend(gone(root, package, &own)?);
    }
    Ok(outputs)
}

fn path(package: Package, function: &str) -> String {
    format!("functions/{}/src/bin/{function}.rs", package.name())
}

fn source(Function { package, called_by, serve, .. }: &Function) -> String {
    let library = package.library();
    format!(
        "//! {called_by}\n\
         \n\
         #[tokio::main(flavor = \"current_thread\")]\n\
         async fn main() -> Result<(), {library}::Error> {{\n    \
             {library}::{serve}.await\n\
         }}\n"
    )
}

fn manifest(root: &Path, package: Package, functions: &[&Function]) -> anyhow::Result<Output> {
    let entry = |function: &&Function| {
        let name = &function.name;
        format!("[[bin]]\nname = \"{name}\"\npath = \"src/bin/{name}.rs\"\ntest = false\n")
    };
    let entries: Vec<String> = functions.iter().map(entry).collect();
    let path = format!("functions/{}/Cargo.toml", package.name());
    let text = std::fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
    let text = between_marks(&text, &entries.join("\n")).with_context(|| path.clone())?;
    Ok(Output { path, text: Some(text) })
}

fn gone(root: &Path, package: Package, functions: &[&Function]) -> anyhow::Result<Vec<Output>> {
    let folder = root.join("functions").join(package.name()).join("src/bin");
    let mut gone = Vec::new();
    for file in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let file = file?.path();
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        if !functions.iter().any(|function| function.name == name) {
            gone.push(Output { path: path(package, &name), text: None });
        }
    }
    Ok(gone)
}
