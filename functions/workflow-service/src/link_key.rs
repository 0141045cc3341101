//! The key by which the links of this installation are signed: a file of the data directory that is made once.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

const FILE: &str = "link.key";
const BYTES: usize = 32;

/// The key. Who has the directory's lock may make it.
pub(crate) fn of(directory: &Path) -> io::Result<Vec<u8>> {
    let file = directory.join(FILE);
    match fs::read(&file) {
        Ok(key) if key.len() == BYTES => return Ok(key),
        // One that is cut off is made anew: links are short-lived.
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut key = vec![0; BYTES];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let unfinished = directory.join(format!("{FILE}.unfinished"));
    let mut written = File::options().create(true).truncate(true).write(true).mode(0o600).open(&unfinished)?;
    written.write_all(&key)?;
    written.sync_all()?;
    fs::rename(&unfinished, &file)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_is_private() {
        let directory = tempfile::tempdir().expect("a folder");
        let key = of(directory.path()).expect("it is made");
        assert_eq!(of(directory.path()).expect("it is there"), key);
        let mode = directory.path().join(FILE).metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0);
        fs::write(directory.path().join(FILE), b"short").expect("it is written");
        let anew = of(directory.path()).expect("it is made");
        assert!(anew.len() == BYTES && anew != key);
    }
}
