//! What backups rely on: what was written is read again, and nothing else is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod documents;
mod folder;
mod key_file;
mod manifest;
mod parts;
mod support;
mod tampering;
