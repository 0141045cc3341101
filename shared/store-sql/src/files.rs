//! The files of a database: where they are, who may read them, and whether they are still there.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// The mode of every file: they hold personal data. SQLite gives the files beside a database the database's.
pub(crate) const FILE_MODE: u32 = 0o600;

/// The same for directories.
pub(crate) const DIRECTORY_MODE: u32 = 0o700;

/// What the files that SQLite keeps beside a database are called.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// Less than this is a full disk: it does not hold what one commit may write.
const LEAST_SPACE: u64 = 1 << 20;

/// Where a database really is, wherever links lead; the file is created if need be, and others may not read it from now on.
///
/// # Errors
/// There cannot be a file.
pub fn place_of(file: &Path) -> io::Result<PathBuf> {
    // An existing one is not opened: closing it would give up the locks that SQLite has on it in this process.
    let created = File::options().create_new(true).write(true).mode(FILE_MODE).open(file);
    if let Err(error) = created
        && error.kind() != ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    let place = file.canonicalize()?;
    for path in std::iter::once(place.clone()).chain(BESIDE.map(|name| beside(&place, name))) {
        make_private(&path, FILE_MODE);
    }
    Ok(place)
}

/// The file beside a database with this ending.
pub(crate) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(ending);
    name.into()
}

/// Takes from others what they may do with this file or directory; whether they might do anything. There are file systems
/// without modes: there it stays as it is.
pub(crate) fn make_private(path: &Path, mode: u32) -> bool {
    let Ok(metadata) = fs::symlink_metadata(path) else { return false };
    if metadata.is_symlink() || metadata.mode() & 0o077 == 0 {
        return false;
    }
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Ok(()) => tracing::info!(path = %path.display(), "others could read this; now they cannot"),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "others can read this, and that cannot be changed")
        }
    }
    true
}

/// The URL by which sqlx opens this path, whatever characters are in it.
///
/// # Errors
/// The path is not UTF-8, which SQLite needs.
pub(crate) fn url_of(place: &Path) -> Result<String, String> {
    let text = place.to_str().ok_or_else(|| {
        format!("{} is not UTF-8, and SQLite opens no other path: choose another data directory", place.display())
    })?;
    let mut url = "sqlite://".to_owned();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => url.push(byte.into()),
            byte => url.push_str(&format!("%{byte:02X}")),
        }
    }
    Ok(url)
}

/// The files that a database was opened with.
#[derive(Debug)]
pub(crate) struct OpenFiles(Vec<(PathBuf, u64, u64)>);

impl OpenFiles {
    /// Of a database that is open.
    ///
    /// # Errors
    /// One of them is not there.
    pub(crate) fn of(database: &Path) -> io::Result<Self> {
        let paths = std::iter::once(database.to_owned()).chain(BESIDE.map(|ending| beside(database, ending)));
        let identified = paths.map(|path| {
            let metadata = fs::metadata(&path)?;
            Ok((path, metadata.dev(), metadata.ino()))
        });
        identified.collect::<io::Result<_>>().map(Self)
    }

    /// Whether what is written still goes into the files that a restart would read.
    ///
    /// # Errors
    /// Which one was deleted, moved or replaced.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (path, device, inode) in &self.0 {
            match fs::metadata(path) {
                Ok(metadata) if (metadata.dev(), metadata.ino()) == (*device, *inode) => {}
                Ok(_) => return Err(format!("{} was replaced while it was in use", path.display())),
                Err(error) => {
                    return Err(format!("{} was deleted or moved while it was in use: {error}", path.display()));
                }
            }
        }
        Ok(())
    }

    /// Whether something more can be written.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check_space(&self) -> Result<(), String> {
        let Some((database, ..)) = self.0.first() else { return Ok(()) };
        let directory = database.parent().unwrap_or(database);
        let disk = statvfs(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
        if disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
            return Err(format!("the disk of {} is mounted read-only", directory.display()));
        }
        // Some blocks are kept for root alone.
        let blocks = if rustix::process::geteuid().is_root() { disk.f_bfree } else { disk.f_bavail };
        judge_space(disk.f_blocks, blocks.saturating_mul(disk.f_frsize))
            .map_err(|problem| format!("the disk of {} is full: {problem}", directory.display()))
    }
}

/// There are file systems that do not say how large they are.
fn judge_space(blocks: u64, free: u64) -> Result<(), String> {
    match free {
        free if free < LEAST_SPACE && blocks > 0 => Err(format!("{free} bytes are free")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_before_nothing_is_left() {
        assert_eq!(judge_space(1_000, LEAST_SPACE), Ok(()));
        assert_eq!(judge_space(0, 0), Ok(()), "its size is not known");
        assert_eq!(judge_space(1_000, 4_096), Err("4096 bytes are free".to_owned()));
    }

    #[test]
    fn a_path_is_no_url() {
        let url = |path: &str| url_of(Path::new(path)).expect("UTF-8");
        assert_eq!(url("/a b/c:d?e=1#f/p%61"), "sqlite:///a%20b/c%3Ad%3Fe%3D1%23f/p%2561");
        assert_eq!(url("/é\n"), "sqlite:///%C3%A9%0A");
    }
}
