//! Where a key file is: only its owner may read it, and it is there wholly or not at all.

use std::fs::{self, File, Metadata, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::FileKeysError;
use crate::crypto;

/// The mode of a key file.
const MODE: u32 = 0o600;

/// What others than the owner may do.
const OTHERS: u32 = 0o077;

/// A key file is not larger, in bytes: a few thousand rotations.
const MAX_BYTES: u64 = 1024 * 1024;

/// An error of the file system, with what was tried.
pub(super) fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> FileKeysError + 'a {
    move |source| FileKeysError::Io { action, path: path.to_owned(), source }
}

/// The text of a key file, if others can neither read nor write it. `path` may be a link.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileKeysError> {
    let metadata = fs::metadata(path).map_err(failed("opened", path))?;
    if !metadata.is_file() {
        return Err(FileKeysError::Damaged { path: path.to_owned(), reason: "it is not a file".to_owned() });
    }
    let file = File::open(path).map_err(failed("opened", path))?;
    let mode = file.metadata().map_err(failed("opened", path))?.mode();
    if mode & OTHERS != 0 {
        return Err(FileKeysError::OpenToOthers { path: path.to_owned(), mode: mode & 0o777 });
    }
    let mut text = Zeroizing::new(Vec::new());
    file.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(failed("read", path))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(FileKeysError::Damaged { path: path.to_owned(), reason: format!("it has over {MAX_BYTES} bytes") });
    }
    Ok(text)
}

/// Creates the file, unless there is something.
pub(super) fn create(path: &Path, text: &[u8]) -> Result<(), FileKeysError> {
    write(path, text, None, |temporary| {
        // Unlike a rename, a link never takes the place of something.
        fs::hard_link(temporary, path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => FileKeysError::Exists { path: path.to_owned() },
            _ => failed("created", path)(error),
        })?;
        fs::remove_file(temporary).map_err(failed("removed", temporary))
    })
}

/// Replaces the file by what `change` makes of its text. Of two that do so at once, one is refused: it would lose the
/// other's keys.
pub(super) fn replace(
    path: &Path,
    change: impl FnOnce(&[u8]) -> Result<Zeroizing<Vec<u8>>, FileKeysError>,
) -> Result<(), FileKeysError> {
    // A link stays one.
    let place = path.canonicalize().map_err(failed("opened", path))?;
    let busy = || FileKeysError::Busy { path: path.to_owned() };
    let locked = File::options().read(true).write(true).open(&place).map_err(failed("opened", &place))?;
    locked.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => busy(),
        TryLockError::Error(error) => failed("locked", &place)(error),
    })?;
    let (before, current) = (locked.metadata(), fs::metadata(&place));
    let before = before.map_err(failed("opened", &place))?;
    if current.map_err(failed("opened", &place))?.ino() != before.ino() {
        return Err(busy());
    }
    let text = change(&read(&place)?)?;
    write(&place, &text, Some(&before), |temporary| fs::rename(temporary, &place).map_err(failed("replaced", &place)))
}

/// Writes a file beside `path`, which `put` brings in its place.
fn write(
    path: &Path,
    text: &[u8],
    before: Option<&Metadata>,
    put: impl FnOnce(&Path) -> Result<(), FileKeysError>,
) -> Result<(), FileKeysError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary(directory)?;
    let written = write_new(&temporary, text, before).and_then(|()| put(&temporary));
    if written.is_err() {
        // The error that matters is the first one. What stays is unreadable for others.
        let _ = fs::remove_file(&temporary);
    }
    written?;
    let directory_file = File::open(directory).map_err(failed("opened", directory))?;
    directory_file.sync_all().map_err(failed("written to disk", directory))
}

fn temporary(directory: &Path) -> Result<PathBuf, FileKeysError> {
    let name: [u8; 8] = crypto::random()?;
    Ok(directory.join(format!(".{}.new", crypto::hex(&name))))
}

fn write_new(path: &Path, text: &[u8], before: Option<&Metadata>) -> Result<(), FileKeysError> {
    let new = File::options().write(true).create_new(true).mode(MODE).open(path);
    let mut file = new.map_err(failed("created", path))?;
    let metadata = file.metadata().map_err(failed("opened", path))?;
    // Root may rotate the keys of somebody else, who needs to read them.
    if let Some(before) = before.filter(|before| (before.uid(), before.gid()) != (metadata.uid(), metadata.gid())) {
        fchown(&file, Some(before.uid()), Some(before.gid()))
            .map_err(failed("given to the owner of the keys", path))?;
    }
    file.write_all(text).and_then(|()| file.sync_all()).map_err(failed("written to disk", path))
}
