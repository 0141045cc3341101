//! Blobs as files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use futures::{StreamExt as _, stream};
use store::{BlobBody, BlobKey, BlobReader, Blobs, StoreError};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex;

use crate::unavailable;

/// What is read at once.
const PART_BYTES: usize = 256 * 1024;

/// Where blobs are while they are written; no tenant begins with a dot.
const UNFINISHED: &str = ".unfinished";

/// Before it is as old, a blob is not removed.
const MIN_AGE: Duration = Duration::from_secs(3_600);

/// Blobs in a folder of their own. A server and its workers share it.
#[derive(Debug, Clone)]
pub struct FileBlobs {
    folder: PathBuf,
    written: Arc<AtomicU64>,
    /// Nothing is removed while it is being stored anew.
    naming: Arc<Mutex<()>>,
}

impl FileBlobs {
    /// Opens the folder, creating it if need be; what a process left unfinished that is gone is removed.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        let unfinished = folder.join(UNFINISHED);
        fs::create_dir_all(&unfinished).await.map_err(unavailable)?;
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
    /// is.
    pub async fn remove_old(&self, key: &BlobKey) -> Result<(), StoreError> {
        let path = self.path(key);
        let _naming = self.naming.lock().await;
        let stored = match fs::metadata(&path).await.and_then(|file| file.modified()) {
            Ok(stored) => stored,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(unavailable(error)),
        };
        match stored.elapsed() {
            Ok(age) if age >= MIN_AGE => fs::remove_file(&path).await.map_err(unavailable),
            _ => Ok(()),
        }
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
        fs::create_dir_all(folder).await.map_err(unavailable)?;
        let naming = self.naming.lock().await;
        fs::rename(&unfinished, &path).await.map_err(unavailable)?;
        drop(naming);
        // The names are durable with their folders, up to the one that was there before.
        for folder in folder.ancestors().take_while(|folder| folder.starts_with(&self.folder)) {
            File::open(folder).await.map_err(unavailable)?.sync_all().await.map_err(unavailable)?;
        }
        Ok(())
    }
}

/// Whether the process is alive whose number begins the name of an unfinished file.
fn is_being_written(name: &str) -> bool {
    let process = name.split_once('-').and_then(|(process, _)| process.parse::<u32>().ok());
    process.is_some_and(|process| process != std::process::id() && Path::new(&format!("/proc/{process}")).exists())
}

async fn write(path: &Path, mut body: BlobBody) -> Result<(), StoreError> {
    let mut file = File::create(path).await.map_err(unavailable)?;
    while let Some(part) = body.next().await {
        file.write_all(&part?).await.map_err(unavailable)?;
    }
    file.flush().await.map_err(unavailable)?;
    file.sync_all().await.map_err(unavailable)
}
