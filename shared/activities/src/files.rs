//! The files that an execution works with. Whatever the size of a job, nothing but counts passes an engine.

use bytes::Bytes;
use contracts::{ActivityError, Cause, ErrorName};
use futures::channel::mpsc::{Receiver, Sender, channel};
use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{BlobKey, Blobs, JOBS, RESULTS, StoreError};

use crate::Context;
use crate::harness::store_failed;

impl<'a> Context<'a> {
    /// The files of this execution.
    pub(crate) fn files(&self) -> Files<'a> {
        Files { blobs: self.blobs, tenant_id: self.tenant_id(), execution_id: self.execution_id(), job: "" }
    }

    /// The files of another execution of the tenant.
    pub(crate) fn files_of<'f>(&'f self, execution_id: &'f str) -> Files<'f> {
        Files { blobs: self.blobs, tenant_id: self.tenant_id(), execution_id, job: "" }
    }

    /// Where a file of this execution's results is.
    pub(crate) fn result_key(&self, name: &str) -> Result<BlobKey, ActivityError> {
        key(self.tenant_id(), &[RESULTS, self.execution_id(), name])
    }

    /// Where people ask for it.
    pub(crate) fn result_link(&self, name: &str) -> String {
        format!("/api/v1/workflows/{}/results/{name}", self.execution_id())
    }
}

/// The files of one execution.
pub(crate) struct Files<'a> {
    pub(crate) blobs: &'a dyn Blobs,
    pub(crate) tenant_id: &'a str,
    pub(crate) execution_id: &'a str,
    /// What their names begin with.
    job: &'static str,
}

impl Files<'_> {
    /// Those of one job of the execution, which has others too.
    pub(crate) fn for_job(self, job: &'static str) -> Self {
        Self { job, ..self }
    }

    /// The items of its distributed Map.
    pub(crate) fn manifest(&self) -> Result<BlobKey, ActivityError> {
        self.key("manifest.json")
    }

    /// What its batches need to know.
    pub(crate) fn plan(&self) -> Result<BlobKey, ActivityError> {
        self.key("plan.json")
    }

    /// How far a batch is that is called again.
    pub(crate) fn state(&self, batch: u64) -> Result<BlobKey, ActivityError> {
        self.key(&format!("state-{batch}.json"))
    }

    pub(crate) fn key(&self, name: &str) -> Result<BlobKey, ActivityError> {
        key(self.tenant_id, &[JOBS, self.execution_id, &format!("{}{name}", self.job)])
    }

    /// The plan, which an earlier step has written.
    pub(crate) async fn read_plan<T: DeserializeOwned>(&self) -> Result<T, ActivityError> {
        self.plan_if_written().await?.ok_or_else(|| lost("the plan"))
    }

    /// The plan; none if the execution ended before the plan was written, so that no later step has done anything.
    ///
    /// # Errors
    /// It cannot be read: what the later steps did is not known.
    pub(crate) async fn plan_if_written<T: DeserializeOwned>(&self) -> Result<Option<T>, ActivityError> {
        self.read(&self.plan()?).await
    }

    /// How far a batch is; none if it was never begun.
    pub(crate) async fn read_state<T: DeserializeOwned>(&self, batch: usize) -> Result<Option<T>, ActivityError> {
        self.read(&self.state(batch as u64)?).await
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, key: &BlobKey) -> Result<Option<T>, ActivityError> {
        let text = self.read_whole(key).await?;
        text.map(|text| serde_json::from_slice(&text).map_err(|_| lost("a file of the job"))).transpose()
    }

    pub(crate) async fn read_whole(&self, key: &BlobKey) -> Result<Option<Vec<u8>>, ActivityError> {
        let Some(body) = self.blobs.get(key).await.map_err(store_failed)? else { return Ok(None) };
        let parts: Vec<Bytes> = body.try_collect().await.map_err(store_failed)?;
        Ok(Some(parts.concat()))
    }

    pub(crate) async fn write(&self, key: &BlobKey, text: Vec<u8>) -> Result<(), ActivityError> {
        self.blobs.put(key, stream::iter([Ok(text.into())]).boxed()).await.map_err(store_failed)
    }

    /// Notes why an attempt of a batch failed. A machine that gives the batch up passes on no more than the name of the error.
    pub(crate) async fn noting<T>(&self, batch: usize, outcome: Result<T, ActivityError>) -> Result<T, ActivityError> {
        if let Err(error) = &outcome
            && error.error != ErrorName::BatchUnfinished.as_str()
        {
            let Cause { service, message, .. } = &*error.cause;
            let service = service.as_ref().map(|service| format!("{service}: ")).unwrap_or_default();
            // The error counts, whether or not it can be noted.
            if let Ok(file) = self.why_file(batch) {
                let _ = self.write_json(&file, &format!("{service}{message}")).await;
            }
        }
        outcome
    }

    /// What is told of a batch that was given up, with why its last attempt failed.
    pub(crate) async fn with_why(&self, batch: usize, told: String) -> Result<String, ActivityError> {
        let why: Option<String> = self.read(&self.why_file(batch)?).await?;
        Ok(why.filter(|why| !why.is_empty()).map_or_else(|| told.clone(), |why| format!("{told}: {why}")))
    }

    fn why_file(&self, batch: usize) -> Result<BlobKey, ActivityError> {
        self.key(&format!("why-{batch}.json"))
    }

    pub(crate) async fn write_json(&self, key: &BlobKey, value: &impl Serialize) -> Result<(), ActivityError> {
        let text = serde_json::to_vec(value).map_err(|error| lost(&error.to_string()))?;
        self.write(key, text).await
    }
}

/// Where the parts of blobs go while they are written.
pub(crate) struct BlobWriter {
    /// Whoever stores them, one after the other.
    store: Sender<(BlobKey, Receiver<Part>)>,
    /// The parts of the one that is being written.
    parts: Option<Sender<Part>>,
    /// Whether nobody writes it any more; whoever does not says why.
    is_given_up: bool,
}

type Part = Result<Bytes, StoreError>;

impl BlobWriter {
    /// Ends the blob that was being written, if one was, and begins another one.
    ///
    /// # Errors
    /// Nobody writes them any more.
    pub(crate) async fn begin(&mut self, key: BlobKey) -> Result<(), ActivityError> {
        self.parts = None;
        let (sender, receiver) = channel(2);
        self.store.send((key, receiver)).await.map_err(|_| self.given_up())?;
        self.parts = Some(sender);
        Ok(())
    }

    /// Hands on a part.
    ///
    /// # Errors
    /// Nobody writes it any more.
    pub(crate) async fn write(&mut self, part: Vec<u8>) -> Result<(), ActivityError> {
        let Some(parts) = &mut self.parts else { return Err(self.given_up()) };
        let sent = if part.is_empty() { Ok(()) } else { parts.send(Ok(part.into())).await };
        sent.map_err(|_| self.given_up())
    }

    fn given_up(&mut self) -> ActivityError {
        self.is_given_up = true;
        ActivityError::new(ErrorName::ServiceUnavailable, "a file cannot be written")
    }
}

/// Writes a blob while its parts are made, whole or not at all.
pub(crate) async fn write_blob<T>(
    blobs: &dyn Blobs,
    key: &BlobKey,
    produce: impl AsyncFnOnce(&mut BlobWriter) -> Result<T, ActivityError>,
) -> Result<T, ActivityError> {
    let produce = async |writer: &mut BlobWriter| {
        writer.begin(key.clone()).await?;
        produce(writer).await
    };
    write_blobs(blobs, produce).await
}

/// Writes blobs, one after the other, while their parts are made, each whole or not at all.
pub(crate) async fn write_blobs<T>(
    blobs: &dyn Blobs,
    produce: impl AsyncFnOnce(&mut BlobWriter) -> Result<T, ActivityError>,
) -> Result<T, ActivityError> {
    // A body cannot borrow, and may hand on errors of the store only: what is made is passed on, and what goes wrong with it
    // is kept.
    let (store, mut begun) = channel(0);
    let mut writer = BlobWriter { store, parts: None, is_given_up: false };
    let put = async move {
        while let Some((key, parts)) = begun.next().await {
            blobs.put(&key, parts.boxed()).await?;
        }
        Ok(())
    };
    let made = async move {
        let made = produce(&mut writer).await;
        if made.is_err()
            && let Some(parts) = &mut writer.parts
        {
            // Half a file is none.
            let torn = StoreError::Unavailable("what is to be written cannot be read".to_owned());
            let _ = parts.send(Err(torn)).await;
        }
        (made, writer.is_given_up)
    };
    match futures::join!(put, made) {
        // It may be torn.
        (Ok(()), (made, _)) | (Err(_), (made @ Err(_), false)) => made,
        (Err(error), _) => Err(store_failed(error)),
    }
}

/// Where a blob of the tenant is.
pub(crate) fn key(tenant_id: &str, names: &[&str]) -> Result<BlobKey, ActivityError> {
    BlobKey::new(tenant_id, names).ok_or_else(|| ActivityError::new(ErrorName::Internal, "the name of a file is none"))
}

/// Adds a line of JSON.
pub(crate) fn push_line(text: &mut Vec<u8>, line: &impl Serialize) -> Result<(), ActivityError> {
    serde_json::to_writer(&mut *text, line).map_err(|error| lost(&error.to_string()))?;
    text.push(b'\n');
    Ok(())
}

pub(crate) fn read_lines<T: DeserializeOwned>(lines: &[u8], what: &str) -> Result<Vec<T>, ActivityError> {
    serde_json::Deserializer::from_slice(lines).into_iter().collect::<Result<_, _>>().map_err(|_| lost(what))
}

/// Something that was written is not there, or is something else.
pub(crate) fn lost(what: &str) -> ActivityError {
    ActivityError::new(ErrorName::IntegrityViolation, format!("{what}: missing or damaged"))
}

/// The error that asks to be called again after so many seconds.
pub(crate) fn unfinished(wait_seconds: u64) -> ActivityError {
    let message = "the batch is to be called again".to_owned();
    let cause = Cause { message, retry_after_seconds: Some(wait_seconds), ..Cause::default() };
    ActivityError { error: ErrorName::BatchUnfinished.to_string(), cause: Box::new(cause) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use store::conformance::MemoryBlobs;

    use super::*;

    #[tokio::test]
    async fn a_damaged_plan_is_an_error_and_not_one_that_was_never_written() {
        let blobs = MemoryBlobs::default();
        let files = Files { blobs: &blobs, tenant_id: "t", execution_id: "e", job: "" };
        assert_eq!(files.plan_if_written::<Value>().await, Ok(None));
        let place = files.plan().expect("it has a place");
        files.write_json(&place, &json!({ "total": 1 })).await.expect("it is written");
        assert_eq!(files.plan_if_written().await, Ok(Some(json!({ "total": 1 }))));
        for damaged in ["", "{\"total\":"] {
            files.write(&place, damaged.into()).await.expect("it is written");
            let error = files.plan_if_written::<Value>().await.expect_err("it is damaged");
            assert_eq!(error.error, ErrorName::IntegrityViolation.as_str(), "{damaged:?}");
        }
    }
}
