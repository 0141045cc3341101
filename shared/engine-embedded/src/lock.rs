//! One engine per data directory.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

/// Held while an engine uses a data directory; the operating system gives it up with the process, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    #[expect(dead_code, reason = "the lock lives as long as the open file")]
    file: File,
}

impl DirectoryLock {
    /// Takes the directory.
    ///
    /// # Errors
    /// `WouldBlock` when another process has it.
    pub fn acquire(directory: &Path) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).write(true).open(directory.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("{} is in use by another workflow-service", directory.display()),
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}
