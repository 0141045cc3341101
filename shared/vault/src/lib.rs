//! Keys, sealed parts and signed documents: what a backup or an archive is made of.
//!
//! - [`Keys`] is the port to an installation's keys; [`FileKeys`] keeps them in a file.
//! - [`PartWriter`] and [`PartReader`] compress and encrypt a stream of lines.
//! - [`sign_document`] and [`verify_document`] sign JSON.
//! - [`Manifest`] lists the parts of a backup and is signed; [`verify_folder`] checks a copy of a backup without any
//!   secret key.
//!
//! Only [`FileKeys`], [`KeyFilePath`] and [`verify_folder`] touch files. Nothing here has a clock, a socket or a runtime.

mod canonical;
mod crypto;
mod document;
mod file_keys;
mod folder;
mod keys;
mod manifest;
mod part;
mod public_key;

pub use document::{DocumentError, SignError, sign_document, verify_document};
pub use file_keys::{FileKeys, FileKeysError, KeyFilePath};
pub use folder::{FolderFault, FolderProblem, VerifyError, VerifyReport, verify_folder};
pub use keys::{DataKey, ED25519, KeyError, Keys, NoKeys, Signature, WrappedKey};
pub use manifest::{
    Dangling, MANIFEST_FILE, MANIFEST_FORMAT, MANIFEST_KIND, MANIFEST_VERSION, MAX_DANGLING, Manifest, ManifestError,
    PartEntry, PartMismatch, ServiceSummary, TypeSummary, key_context, part_context, part_name,
};
pub use part::{FRAME_BYTES, MAX_LINE_BYTES, PartError, PartReader, PartSummary, PartWriter};
pub use public_key::{PublicKey, PublicKeyError};
