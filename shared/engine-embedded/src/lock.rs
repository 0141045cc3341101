//! One engine per data directory.

use std::fs::{File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Who could open the file could keep a server from starting.
const MODE: u32 = 0o600;

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
        let file = directory.join("lock");
        let file = File::options().create(true).truncate(false).write(true).mode(MODE).open(file)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            // There are file systems without modes.
            let _ = file.set_permissions(Permissions::from_mode(MODE));
        }
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
