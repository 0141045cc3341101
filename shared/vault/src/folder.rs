//! Whether a folder holds a backup as it was made: offline, and without any secret key.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::crypto::Sha256;
use crate::manifest::{MANIFEST_FILE, Manifest, ManifestError, PartEntry};
use crate::public_key::PublicKey;

/// A manifest is not larger, in bytes: hundreds of thousands of parts.
const MAX_MANIFEST_BYTES: u64 = 128 * 1024 * 1024;

const BUFFER_BYTES: usize = 256 * 1024;

/// What [`verify_folder`] saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyReport {
    /// What the folder should hold.
    pub manifest: Manifest,
    /// How many of its parts are as they should be.
    pub good_parts: usize,
    /// Everything that is wrong, by name. The copy is good if there is nothing.
    pub problems: Vec<FolderProblem>,
}

/// A file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FolderProblem {
    /// The file's name.
    pub name: String,
    /// What is wrong with it.
    pub fault: FolderFault,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FolderFault {
    /// The manifest lists it, and it is not there.
    Missing,
    /// It is there, and the manifest does not list it.
    Superfluous,
    /// It has another size, in bytes.
    Size {
        /// What the manifest says.
        expected: u64,
        /// What it has.
        found: u64,
    },
    /// It has the right size and another SHA-256.
    Changed,
    /// What the file system says.
    Unreadable(String),
}

impl fmt::Display for FolderProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match &self.fault {
            FolderFault::Missing => write!(f, "{name} is missing"),
            FolderFault::Superfluous => write!(f, "{name} does not belong to the backup"),
            FolderFault::Size { expected, found } => write!(f, "{name} has {found} bytes instead of {expected}"),
            FolderFault::Changed => write!(f, "{name} was changed: its SHA-256 is another one"),
            FolderFault::Unreadable(reason) => write!(f, "{name} cannot be read: {reason}"),
        }
    }
}

/// Why nothing can be said about a folder.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The folder or its manifest is not there or cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// Which file or folder.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// The manifest is not to be believed, and so nothing else.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// Verifies a copy of a backup: the manifest's signature by one of `keys`, the size and the SHA-256 of each part, and
/// that no file is missing or does not belong there. The parts are not decrypted.
///
/// # Errors
/// The manifest is missing, or not signed by one of `keys`. What is wrong with parts is in the report.
pub fn verify_folder(path: &Path, keys: &[PublicKey]) -> Result<VerifyReport, VerifyError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| VerifyError::Unreadable { path, source }
    };
    let manifest_path = path.join(MANIFEST_FILE);
    let bytes = read_manifest(&manifest_path).map_err(unreadable(&manifest_path))?;
    let manifest = Manifest::open_any(&bytes, keys)?;
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(path).map_err(unreadable(path))? {
        names.insert(entry.map_err(unreadable(path))?.file_name().to_string_lossy().into_owned());
    }
    names.remove(MANIFEST_FILE);
    let mut problems = Vec::new();
    for part in &manifest.parts {
        names.remove(&part.name);
        let fault = verify_part(&path.join(&part.name), part);
        problems.extend(fault.map(|fault| FolderProblem { name: part.name.clone(), fault }));
    }
    let good_parts = manifest.parts.len() - problems.len();
    problems.extend(names.into_iter().map(|name| FolderProblem { name, fault: FolderFault::Superfluous }));
    problems.sort();
    Ok(VerifyReport { manifest, good_parts, problems })
}

fn read_manifest(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.0.take(MAX_MANIFEST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_MANIFEST_BYTES {
        return Err(io::Error::other(format!("it is larger than {MAX_MANIFEST_BYTES} bytes")));
    }
    Ok(bytes)
}

fn verify_part(path: &Path, part: &PartEntry) -> Option<FolderFault> {
    match read_part(path, part.stored_bytes) {
        Ok((found, _)) if found != part.stored_bytes => Some(FolderFault::Size { expected: part.stored_bytes, found }),
        Ok((_, sha256)) => (sha256 != part.sha256).then_some(FolderFault::Changed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(FolderFault::Missing),
        Err(error) => Some(FolderFault::Unreadable(error.to_string())),
    }
}

/// The size and the hash of a file. One that has another size is not read.
fn read_part(path: &Path, expected: u64) -> io::Result<(u64, String)> {
    let (mut file, size) = open(path)?;
    let (mut hash, mut buffer, mut found) = (Sha256::new(), vec![0; BUFFER_BYTES], 0);
    if size != expected {
        return Ok((size, String::new()));
    }
    loop {
        let length = file.read(&mut buffer)?;
        if length == 0 {
            return Ok((found, hash.finish()));
        }
        hash.update(&buffer[..length]);
        found += length as u64;
    }
}

/// The file and its size. What is no file is not opened: a pipe would wait for ever.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    Ok((File::open(path)?, metadata.len()))
}
