//! Blobs as files.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use store::{BlobBody, BlobKey, BlobReader, Blobs, JOBS, LISTED, REQUESTS, StoreError, UPLOADS};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use crate::files::{DIRECTORY_MODE, FILE_MODE, make_private};
use crate::unavailable;

/// What is read at once.
const PART_BYTES: usize = 256 * 1024;

/// Where blobs are while they are written; no tenant begins with a dot.
const UNFINISHED: &str = ".unfinished";

/// Before it is as old, a blob is not removed.
const MIN_AGE: Duration = Duration::from_secs(3_600);

/// How long an upload waits for its job. Its link is valid for an hour.
const UNUSED_UPLOADS_STAY: Duration = Duration::from_secs(24 * 3_600);

/// Blobs in a folder of their own. A server and its workers share it.
#[derive(Debug, Clone)]
pub struct FileBlobs {
    folder: PathBuf,
    written: Arc<AtomicU64>,
    /// Nothing is removed while it is being stored anew.
    naming: Arc<Mutex<()>>,
}

impl FileBlobs {
    /// Opens the folder, creating it if need be; what a process left unfinished that is gone is removed. Others may not read
    /// what is in it from then on.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let unfinished = folder.join(UNFINISHED);
        let (given, within) = (folder.to_owned(), unfinished.clone());
        let private = move || make_all_private(&given).and_then(|()| create_private(&within));
        tokio::task::spawn_blocking(private).await.map_err(unavailable)?.map_err(unavailable)?;
        let mut files = fs::read_dir(&unfinished).await.map_err(unavailable)?;
        while let Some(file) = files.next_entry().await.map_err(unavailable)? {
            if !is_being_written(&file.file_name().to_string_lossy()) {
                // Another process that opens the folder may be faster.
                let _ = fs::remove_file(file.path()).await;
            }
        }
        Ok(Self { folder: folder.to_owned(), written: Arc::default(), naming: Arc::default() })
    }

    /// Removes a blob, unless it was stored less than an hour ago: whoever stored it may be about to write down where it
    /// is. Whether it is removed.
    pub async fn remove_old(&self, key: &BlobKey) -> Result<bool, StoreError> {
        let path = self.path(key);
        let _naming = self.naming.lock().await;
        if !is_old(&path).await? {
            return Ok(false);
        }
        fs::remove_file(&path).await.map(|()| true).map_err(unavailable)
    }

    /// Removes what the job of an execution worked with, if it was one.
    pub(crate) async fn remove_job(&self, tenant_id: &str, id: &str) -> Result<(), StoreError> {
        self.remove_folder(tenant_id, &[JOBS, id]).await
    }

    /// Removes uploads that no job has used for a day; how many.
    pub async fn remove_old_uploads(&self) -> Result<u64, StoreError> {
        let mut removed = 0;
        for tenant_id in self.tenants().await? {
            let folder = self.folder.join(tenant_id).join(UPLOADS);
            for name in names(&folder).await? {
                let path = folder.join(name);
                if is_as_old_as(&path, UNUSED_UPLOADS_STAY).await? {
                    fs::remove_file(&path).await.map_err(unavailable)?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    /// The tenants that have blobs.
    pub(crate) async fn tenants(&self) -> Result<Vec<String>, StoreError> {
        let names = names(&self.folder).await?;
        Ok(names.into_iter().filter(|name| !name.starts_with('.')).collect())
    }

    /// The hashes of a tenant's requests that may be removed by their age.
    pub(crate) async fn old_requests(&self, tenant_id: &str) -> Result<Vec<String>, StoreError> {
        let folder = self.folder.join(tenant_id).join(REQUESTS);
        let mut old = Vec::new();
        for name in names(&folder).await? {
            if let Some(hash) = name.strip_suffix(".json")
                && is_old(&folder.join(&name)).await?
            {
                old.push(hash.to_owned());
            }
        }
        Ok(old)
    }

    fn path(&self, key: &BlobKey) -> PathBuf {
        self.folder.join(key.to_string())
    }
}

#[async_trait]
impl BlobReader for FileBlobs {
    async fn get(&self, key: &BlobKey) -> Result<Option<BlobBody>, StoreError> {
        let file = match File::open(self.path(key)).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        let parts = stream::try_unfold(file, async |mut file| {
            let mut part = BytesMut::with_capacity(PART_BYTES);
            let read = file.read_buf(&mut part).await.map_err(unavailable)?;
            Ok((read > 0).then(|| (part.freeze(), file)))
        });
        Ok(Some(parts.boxed()))
    }

    async fn size(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
        match fs::metadata(self.path(key)).await {
            Ok(file) => Ok(Some(file.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    async fn get_part(&self, key: &BlobKey, offset: u64, length: u64) -> Result<Option<Bytes>, StoreError> {
        let mut file = match File::open(self.path(key)).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unavailable(error)),
        };
        file.seek(io::SeekFrom::Start(offset)).await.map_err(unavailable)?;
        let mut part = Vec::with_capacity(usize::try_from(length).map_err(unavailable)?);
        file.take(length).read_to_end(&mut part).await.map_err(unavailable)?;
        Ok(Some(part.into()))
    }
}

#[async_trait]
impl Blobs for FileBlobs {
    async fn put(&self, key: &BlobKey, body: BlobBody) -> Result<(), StoreError> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.folder.join(UNFINISHED).join(format!("{}-{number}", std::process::id()));
        if let Err(error) = write(&unfinished, body).await {
            let _ = fs::remove_file(&unfinished).await;
            return Err(error);
        }
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.folder);
        let created = folder.to_owned();
        let create = move || create_private(&created);
        tokio::task::spawn_blocking(create).await.map_err(unavailable)?.map_err(unavailable)?;
        let naming = self.naming.lock().await;
        fs::rename(&unfinished, &path).await.map_err(unavailable)?;
        drop(naming);
        // The names are durable with their folders, up to the one that was there before.
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.folder)) {
            File::open(folder).await.map_err(unavailable)?.sync_all().await.map_err(unavailable)?;
        }
        Ok(())
    }

    async fn remove(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        for key in keys {
            match fs::remove_file(self.path(key)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unavailable(error)),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    async fn list(&self, tenant_id: &str, folder: &[&str], after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let Some(folder) = BlobKey::new(tenant_id, folder) else { return Ok(Vec::new()) };
        let mut names = names_of(&self.path(&folder), true).await?;
        names.retain(|name| after.is_none_or(|after| name.as_str() > after));
        names.sort_unstable();
        names.truncate(LISTED);
        Ok(names)
    }

    async fn remove_folder(&self, tenant_id: &str, folder: &[&str]) -> Result<(), StoreError> {
        let Some(folder) = BlobKey::new(tenant_id, folder) else { return Ok(()) };
        match fs::remove_dir_all(self.path(&folder)).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unavailable(error)),
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

/// The names in a folder; none if there is no such folder.
async fn names(folder: &Path) -> Result<Vec<String>, StoreError> {
    names_of(folder, false).await
}

async fn names_of(folder: &Path, only_files: bool) -> Result<Vec<String>, StoreError> {
    let mut entries = match fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unavailable(error)),
    };
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(unavailable)? {
        if !only_files || entry.file_type().await.map_err(unavailable)?.is_file() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Whether a file is there and was stored long enough ago to be removed.
async fn is_old(file: &Path) -> Result<bool, StoreError> {
    is_as_old_as(file, MIN_AGE).await
}

async fn is_as_old_as(file: &Path, age: Duration) -> Result<bool, StoreError> {
    match fs::metadata(file).await.and_then(|file| file.modified()) {
        Ok(stored) => Ok(stored.elapsed().is_ok_and(|elapsed| elapsed >= age)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unavailable(error)),
    }
}

/// Creates a folder that only this user can look into.
fn create_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(folder)
}

/// Takes from others what they may do in a folder, if they may do anything: an earlier program let them. The folder itself
/// comes last, so that what is interrupted is done again; once it is private, nothing in it is looked at.
fn make_all_private(folder: &Path) -> io::Result<()> {
    if !is_open_to_others(folder)? {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => make_all_private(&entry.path())?,
            false => drop(make_private(&entry.path(), FILE_MODE)),
        }
    }
    make_private(folder, DIRECTORY_MODE);
    Ok(())
}

fn is_open_to_others(folder: &Path) -> io::Result<bool> {
    match std::fs::metadata(folder) {
        Ok(metadata) => Ok(metadata.permissions().mode() & 0o077 != 0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the process is alive whose number begins the name of an unfinished file.
fn is_being_written(name: &str) -> bool {
    let process = name.split_once('-').and_then(|(process, _)| process.parse::<u32>().ok());
    process.is_some_and(|process| process != std::process::id() && Path::new(&format!("/proc/{process}")).exists())
}

async fn write(path: &Path, mut body: BlobBody) -> Result<(), StoreError> {
    let options = &mut fs::OpenOptions::new();
    let created = options.create(true).truncate(true).write(true).mode(FILE_MODE).open(path).await;
    let mut file = created.map_err(unavailable)?;
    while let Some(part) = body.next().await {
        file.write_all(&part?).await.map_err(unavailable)?;
    }
    file.flush().await.map_err(unavailable)?;
    file.sync_all().await.map_err(unavailable)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "files have the times of the machine")]
    async fn what_a_job_worked_with_and_what_no_job_used_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = FileBlobs::open(folder.path()).await.expect("it opens");
        let key = |names: &[&str]| BlobKey::new("tenant-a", names).expect("it is a key");
        let kept =
            [key(&[JOBS, "job-2", "plan.json"]), key(&["results", "job-1", "failed.csv"]), key(&[UPLOADS, "new"])];
        let gone = [key(&[JOBS, "job-1", "plan.json"]), key(&[JOBS, "job-1", "manifest.json"]), key(&[UPLOADS, "old"])];
        for key in kept.iter().chain(&gone) {
            blobs.put(key, stream::iter([Ok(Bytes::from_static(b"x"))]).boxed()).await.expect("it is stored");
        }
        let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 3_600);
        let old = std::fs::File::options().write(true).open(blobs.path(&gone[2])).expect("it is there");
        old.set_modified(two_days_ago).expect("it is so old");
        for _ in 0..2 {
            blobs.remove_job("tenant-a", "job-1").await.expect("it is removed");
        }
        assert_eq!(blobs.remove_old_uploads().await.expect("they are looked at"), 1);
        for key in &kept {
            assert_eq!(blobs.size(key).await.expect("it is looked at"), Some(1), "{key}");
        }
        for key in &gone {
            assert_eq!(blobs.size(key).await.expect("it is looked at"), None, "{key}");
        }
    }
}
