//! The key file: whether there is one, who can read it, and whether it is whole.

use std::io;
use std::path::Path;

use vault::{FileKeys, FileKeysError};

use super::Finding;

const CHECK: &str = "key file";

pub(super) fn examine(path: &Path) -> Finding {
    let shown = path.display();
    let error = match FileKeys::open(path) {
        Ok(keys) => return Finding::ok(CHECK, detail(path, &keys)),
        Err(error) => error,
    };
    let problem = |advice: String| Finding::problem(CHECK, error.to_string(), advice);
    let bring_back = || "bring back the copy that is kept apart from the backups".to_owned();
    match &error {
        FileKeysError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Finding::warning(
            CHECK,
            format!("there is no {shown}, and without it no backup can be made or read"),
            "`workflow-service keys init` creates it, with the same settings; if there was one, bring back the copy",
        ),
        // The error says which command.
        FileKeysError::OpenToOthers { .. } => {
            problem("if somebody else may have read it, run `workflow-service keys rotate` too".to_owned())
        }
        FileKeysError::UnknownVersion { .. } => problem("use the version of this program that wrote it".to_owned()),
        FileKeysError::Io { .. } => problem(format!("let the user {} read it", rustix::process::geteuid().as_raw())),
        FileKeysError::Damaged { .. }
        | FileKeysError::Exists { .. }
        | FileKeysError::Busy { .. }
        | FileKeysError::NoRandomness => problem(bring_back()),
    }
}

fn detail(path: &Path, keys: &FileKeys) -> String {
    let public_keys = keys.public_keys();
    let current = public_keys.first().map(|key| {
        let since = keys.created_at(key).map(|at| format!(", since {at:.0}")).unwrap_or_default();
        format!("; backups are signed with {}{since}", key.key_id())
    });
    format!("{} is private and whole{}", path.display(), current.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use clock::{Clock as _, SystemClock};

    use super::super::Outcome;
    use super::*;

    #[test]
    fn it_is_missing_good_open_to_others_or_damaged() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("keys.json");
        let missing = examine(&path);
        assert_eq!(missing.outcome, Outcome::Warning);
        assert!(missing.advice.is_some_and(|advice| advice.contains("keys init")));
        assert!(!path.exists(), "nothing is written");

        FileKeys::init(&path, SystemClock.now()).expect("a new file");
        let good = examine(&path);
        assert_eq!(good.outcome, Outcome::Ok);
        assert!(good.detail.contains("signed with ed25519-"), "{}", good.detail);

        fs::set_permissions(&path, Permissions::from_mode(0o640)).expect("own file");
        let open = examine(&path);
        assert_eq!(open.outcome, Outcome::Problem);
        assert!(open.detail.contains("chmod 600"), "{}", open.detail);

        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("own file");
        fs::write(&path, "{}").expect("own file");
        let damaged = examine(&path);
        assert_eq!(damaged.outcome, Outcome::Problem);
        assert!(damaged.advice.is_some_and(|advice| advice.contains("bring back the copy")));
    }
}
