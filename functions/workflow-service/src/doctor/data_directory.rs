//! The data directory: whether it can be used, who can look into it, how full its disk is, who has it, and what wrote it.

use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{Access, AtFlags, CWD, accessat, statvfs};
use store_sql::FORMAT;

use super::{Finding, process};

const CHECK: &str = "data directory";

/// What a journal needs to go on for a while; the process stops when a disk is full.
const LEAST_SPACE: u64 = 64 << 20;
const ENOUGH_SPACE: u64 = 1 << 30;

/// What a server writes into its directory.
const FILES: [&str; 6] = [
    "lock",
    "workflow-service.db",
    "workflow-service.db-wal",
    "workflow-service.db-shm",
    "workflow-service.db-opening",
    "blobs",
];

pub(super) fn examine(directory: &Path, is_running: bool) -> Vec<Finding> {
    match directory.metadata() {
        Ok(metadata) if metadata.is_dir() => examine_existing(directory, &metadata, is_running),
        Ok(_) => vec![unusable(directory, "is no directory")],
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![examine_parent(directory)],
        Err(error) => vec![unusable(directory, &error.to_string())],
    }
}

fn unusable(directory: &Path, problem: &str) -> Finding {
    let advice = "set store.data_dir (WORKFLOW__STORE__DATA_DIR, --data-dir) to a directory of this user";
    Finding::problem(CHECK, format!("{}: {problem}", directory.display()), advice)
}

fn is_writable(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::empty()).is_ok()
}

/// Where a directory is to be created.
fn examine_parent(directory: &Path) -> Finding {
    let parents =
        directory.ancestors().skip(1).map(|parent| if parent == Path::new("") { Path::new(".") } else { parent });
    match parents.into_iter().find(|parent| parent.exists()) {
        Some(parent) if parent.is_dir() && is_writable(parent) => {
            Finding::ok(CHECK, format!("{} will be created", directory.display()))
        }
        Some(parent) => unusable(directory, &format!("cannot be created in {}", parent.display())),
        None => unusable(directory, "cannot be created"),
    }
}

fn examine_existing(directory: &Path, metadata: &Metadata, is_running: bool) -> Vec<Finding> {
    let mut findings = vec![examine_rights(directory, metadata)];
    findings.extend(examine_files(directory));
    match statvfs(directory) {
        Ok(disk) => findings.push(judge_space(disk.f_bavail.saturating_mul(disk.f_frsize))),
        Err(error) => findings.push(unusable(directory, &error.to_string())),
    }
    findings.extend(examine_lock(directory, is_running));
    findings.extend(examine_database(&directory.join("workflow-service.db")));
    findings
}

fn examine_rights(directory: &Path, metadata: &Metadata) -> Finding {
    let shown = directory.display();
    let of = format!("of the user {}, mode {:04o}", metadata.uid(), metadata.mode() & 0o7777);
    let inside = FILES.map(|file| directory.join(file)).into_iter().filter(|file| file.exists());
    if let Some(path) = std::iter::once(directory.to_owned()).chain(inside).find(|path| !is_writable(path)) {
        let user = rustix::process::geteuid().as_raw();
        let problem = format!("the user {user} may not write {} ({of})", path.display());
        return Finding::problem(CHECK, problem, format!("give it to this user: `chown -R {user} {shown}`"));
    }
    if metadata.mode() & 0o077 != 0 {
        let advice = format!("requests hold personal data: `chmod 700 {shown}`");
        return Finding::warning(CHECK, format!("others can look into {shown} ({of})"), advice);
    }
    Finding::ok(CHECK, format!("{shown} is writable and private ({of})"))
}

/// Which of its files others can read, if any.
fn examine_files(directory: &Path) -> Option<Finding> {
    let mode = |file: &&str| directory.join(file).metadata().map_or(0, |metadata| metadata.mode() & 0o777);
    let open: Vec<String> = FILES.iter().filter(|file| mode(file) & 0o077 != 0).map(ToString::to_string).collect();
    if open.is_empty() {
        return None;
    }
    let detail = format!("the rights of {} in {} are not this user's alone", open.join(", "), directory.display());
    let advice = format!(
        "requests hold personal data: the next start takes the rights from others, or `chmod -R go-rwx {}` does now",
        directory.display()
    );
    Some(Finding::warning("files", detail, advice))
}

fn judge_space(available: u64) -> Finding {
    const CHECK: &str = "disk";
    let detail = format!("{} MiB are free", available >> 20);
    let advice = "make room: the process stops when the disk is full";
    match available {
        available if available < LEAST_SPACE => Finding::problem(CHECK, detail, advice),
        available if available < ENOUGH_SPACE => Finding::warning(CHECK, detail, advice),
        _ => Finding::ok(CHECK, detail),
    }
}

/// Whether a server has the directory. The lock is taken for a moment, together with whoever else only looks.
fn examine_lock(directory: &Path, is_running: bool) -> Option<Finding> {
    const CHECK: &str = "lock";
    let file = File::open(directory.join("lock")).ok()?;
    match file.try_lock_shared() {
        Ok(()) => None,
        Err(TryLockError::WouldBlock) => {
            let holder = file.metadata().ok().and_then(|metadata| process::of_lock(metadata.ino()));
            let detail = format!("the data directory is in use by {}", holder.as_deref().unwrap_or("another process"));
            let advice = "stop that server before another one is started with this directory";
            Some(if is_running { Finding::ok(CHECK, detail) } else { Finding::warning(CHECK, detail, advice) })
        }
        Err(TryLockError::Error(error)) => {
            Some(Finding::problem(CHECK, error.to_string(), "use a file system that has locks"))
        }
    }
}

fn examine_database(file: &Path) -> Option<Finding> {
    const CHECK: &str = "database";
    let shown = file.display();
    let advice = "use the program that wrote it, or another data directory";
    match store_sql::format_of(file) {
        Ok(Some(FORMAT)) => {
            Some(Finding::ok(CHECK, format!("of format {FORMAT}, which this program reads and writes")))
        }
        Ok(Some(format)) => {
            let detail = format!("{shown} is of format {format}, and this program reads and writes format {FORMAT}");
            Some(Finding::problem(CHECK, detail, advice))
        }
        Ok(None) => None,
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Finding::problem(CHECK, format!("{shown}: {error}"), advice)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use engine_embedded::DirectoryLock;
    use store_sql::{Durability, SqlStore};

    use super::super::Outcome;
    use super::*;

    fn outcomes(findings: &[Finding]) -> Vec<(&'static str, Outcome)> {
        findings.iter().map(|finding| (finding.check, finding.outcome)).collect()
    }

    #[test]
    fn a_missing_directory_is_created_where_that_is_possible() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = directory.path().join("a/b");
        assert_eq!(outcomes(&examine(&missing, false)), [(CHECK, Outcome::Ok)]);
        assert!(!directory.path().join("a").exists(), "nothing is written");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("a file");
        for unusable in [file.clone(), file.join("data")] {
            assert_eq!(outcomes(&examine(&unusable, false)), [(CHECK, Outcome::Problem)], "{}", unusable.display());
        }
    }

    #[test]
    fn a_directory_is_private() {
        let directory = tempfile::tempdir().expect("a directory");
        for (mode, outcome) in [(0o700, Outcome::Ok), (0o750, Outcome::Warning), (0o707, Outcome::Warning)] {
            fs::set_permissions(directory.path(), Permissions::from_mode(mode)).expect("own directory");
            assert_eq!(examine(directory.path(), false)[0].outcome, outcome, "{mode:o}");
        }
    }

    #[test]
    fn its_files_are_private() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("workflow-service.db-wal");
        fs::write(&file, "").expect("a file");
        for (mode, outcome) in [(0o600, None), (0o640, Some(Outcome::Warning)), (0o604, Some(Outcome::Warning))] {
            fs::set_permissions(&file, Permissions::from_mode(mode)).expect("own file");
            let found = examine_files(directory.path());
            assert!(found.as_ref().is_none_or(|found| found.detail.contains("workflow-service.db-wal")), "{found:?}");
            assert_eq!(found.map(|finding| finding.outcome), outcome, "{mode:o}");
        }
    }

    #[test]
    fn a_disk_has_room() {
        for (available, outcome) in [(0, Outcome::Problem), (65 << 20, Outcome::Warning), (2 << 30, Outcome::Ok)] {
            assert_eq!(judge_space(available).outcome, outcome, "{available}");
        }
    }

    #[test]
    fn another_server_may_have_it() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(examine_lock(directory.path(), false), None);
        let lock = DirectoryLock::acquire(directory.path()).expect("nobody has it");
        let found = |is_running| examine_lock(directory.path(), is_running).map(|finding| finding.outcome);
        assert_eq!((found(false), found(true)), (Some(Outcome::Warning), Some(Outcome::Ok)));
        drop(lock);
        assert_eq!(examine_lock(directory.path(), false), None);
        DirectoryLock::acquire(directory.path()).expect("looking leaves no lock behind");
    }

    #[test]
    fn a_database_of_another_program_is_a_problem() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("workflow-service.db");
        assert_eq!(examine_database(&file), None);
        fs::write(&file, "not a database at all").expect("a file");
        let found = examine_database(&file).expect("something is there");
        assert!(
            found.outcome == Outcome::Problem && found.detail.contains("is no SQLite database"),
            "{}",
            found.detail
        );
    }

    #[tokio::test]
    async fn the_format_is_read_without_opening_the_database() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("workflow-service.db");
        let clock = Arc::new(clock::SystemClock);
        let store = SqlStore::open(&file, Durability::Process, clock).await.expect("a new database");
        let files = || fs::read_dir(directory.path()).expect("a directory").count();
        let before = files();
        // What has been written is still in the log.
        assert_eq!(examine_database(&file).map(|finding| finding.outcome), Some(Outcome::Ok));
        assert_eq!(files(), before);
        drop(store);

        let mut header = b"SQLite format 3\0".to_vec();
        header.resize(100, 0);
        header[63] = 1;
        let old = directory.path().join("old.db");
        fs::write(&old, header).expect("a file");
        let found = examine_database(&old).expect("a database");
        assert!(found.outcome == Outcome::Problem && found.detail.contains("is of format 1, and"), "{}", found.detail);
    }
}
