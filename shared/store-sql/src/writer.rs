//! The one writer: queued operations, one transaction, then the acknowledgements.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clock::{Instant, SharedClock};
use sqlx::AnyConnection;
use store::StoreError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::FailureWatch;
use crate::files::OpenFiles;

/// Rows that one transaction writes, unless its first operation alone writes more: bounds how long that one waits for the
/// last, and the next for all.
const MAX_GROUP_ROWS: usize = 400;

/// As many rows of the engine's go with what somebody waits for, so that they are seldom left out.
const FEW_ROWS: usize = 100;

/// A commit that takes longer than this is held up: by another program that has the database's lock, or by the disk.
const COMMIT_TIME: Duration = Duration::from_secs(1);

/// How long a commit shows that writing works.
const COMMIT_COUNTS: Duration = Duration::from_secs(2);

/// Why an operation did not happen.
pub(crate) enum Fault {
    /// The database failed; the whole transaction is lost.
    Database(sqlx::Error),
    /// The operation contradicts what is stored. It has written nothing.
    Inconsistent(String),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Something to write. It reads, decides, and only then writes: an operation that fails with
/// [`Fault::Inconsistent`] must have written nothing, as its neighbours in the transaction are committed.
#[async_trait]
pub(crate) trait Operation: Send + Sync + 'static {
    type Output: Send + 'static;

    async fn apply(&self, connection: &mut AnyConnection) -> Result<Self::Output, Fault>;

    /// About how many rows it writes.
    fn rows(&self) -> usize {
        5
    }
}

/// A handle to the writer task.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: mpsc::UnboundedSender<Box<dyn Write>>,
    /// What somebody waits for goes before what the engine has to note, of which there may be much.
    first: mpsc::UnboundedSender<Box<dyn Write>>,
    failure: FailureWatch,
    commits: Arc<Commits>,
    clock: SharedClock,
}

impl Writer {
    pub(crate) fn spawn(connection: AnyConnection, files: OpenFiles, clock: SharedClock) -> Self {
        let (queue, operations) = mpsc::unbounded_channel();
        let (first, first_operations) = mpsc::unbounded_channel();
        let (failed, failure) = watch::channel(None);
        let commits = Arc::new(Commits { files, times: Mutex::default() });
        let queues = Queues { first: first_operations, others: operations, held: None };
        tokio::spawn(run(connection, queues, failed, Arc::clone(&commits), Arc::clone(&clock)));
        Self { queue, first, failure, commits, clock }
    }

    pub(crate) fn failure(&self) -> FailureWatch {
        self.failure.clone()
    }

    /// Queues the operation and waits until it is durable.
    pub(crate) async fn write<O: Operation>(&self, operation: O) -> Result<O::Output, StoreError> {
        write(&self.queue, operation).await
    }

    /// The same, before what is queued like that.
    pub(crate) async fn write_first<O: Operation>(&self, operation: O) -> Result<O::Output, StoreError> {
        write(&self.first, operation).await
    }

    /// Whether writes are accepted, and reach the files in time. If there was none for a while, one that writes nothing shows
    /// it: it takes the database's lock, and costs the disk nothing.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        self.check_failure()?;
        let now = self.clock.instant();
        let Times { began, done } = *self.commits.times();
        if began.is_some_and(|began| now.since(began) >= COMMIT_TIME) {
            return Err(held_up());
        }
        if began.is_some() || done.is_some_and(|done| now.since(done) < COMMIT_COUNTS) {
            return Ok(());
        }
        self.commits.files.check_space().map_err(StoreError::Unavailable)?;
        let checked = clock::timeout(&*self.clock, COMMIT_TIME, self.write_first(Nothing)).await;
        checked.unwrap_or_else(|| Err(held_up()))
    }

    fn check_failure(&self) -> Result<(), StoreError> {
        match &*self.failure.borrow() {
            Some(reason) => Err(StoreError::Unavailable(reason.clone())),
            // Its task is gone without a word: it panicked.
            None if self.queue.is_closed() => Err(stopped()),
            None => Ok(()),
        }
    }
}

/// The commits of a writer, for whoever wants to know whether it works.
struct Commits {
    files: OpenFiles,
    times: Mutex<Times>,
}

#[derive(Clone, Copy, Default)]
struct Times {
    /// When the one under way began.
    began: Option<Instant>,
    /// When the last one was done.
    done: Option<Instant>,
}

impl Commits {
    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes nothing.
struct Nothing;

#[async_trait]
impl Operation for Nothing {
    type Output = ();

    async fn apply(&self, _connection: &mut AnyConnection) -> Result<(), Fault> {
        Ok(())
    }

    fn rows(&self) -> usize {
        0
    }
}

async fn write<O: Operation>(
    queue: &mpsc::UnboundedSender<Box<dyn Write>>,
    operation: O,
) -> Result<O::Output, StoreError> {
    let (reply, answer) = oneshot::channel();
    queue.send(Box::new(Queued { operation, outcome: None, reply })).map_err(|_| stopped())?;
    answer.await.map_err(|_| StoreError::InDoubt("the writer has stopped".to_owned()))?
}

struct Queued<O: Operation> {
    operation: O,
    outcome: Option<Result<O::Output, StoreError>>,
    reply: oneshot::Sender<Result<O::Output, StoreError>>,
}

/// An operation whose output type is forgotten.
#[async_trait]
trait Write: Send {
    async fn apply(&mut self, connection: &mut AnyConnection) -> Result<(), sqlx::Error>;
    fn rows(&self) -> usize;
    fn acknowledge(self: Box<Self>);
    fn refuse(self: Box<Self>, reason: StoreError);
}

#[async_trait]
impl<O: Operation> Write for Queued<O> {
    async fn apply(&mut self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        self.outcome = Some(match self.operation.apply(connection).await {
            Ok(output) => Ok(output),
            Err(Fault::Inconsistent(what)) => Err(StoreError::Inconsistent(what)),
            Err(Fault::Database(error)) => return Err(error),
        });
        Ok(())
    }

    fn rows(&self) -> usize {
        self.operation.rows()
    }

    fn acknowledge(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // A caller that has gone away does not undo what it asked for.
            let _ = self.reply.send(outcome);
        }
    }

    fn refuse(self: Box<Self>, reason: StoreError) {
        let _ = self.reply.send(Err(reason));
    }
}

/// What is to be written.
struct Queues {
    first: mpsc::UnboundedReceiver<Box<dyn Write>>,
    others: mpsc::UnboundedReceiver<Box<dyn Write>>,
    /// One of the others that was too much to go with what somebody waits for. It does not have to wait again.
    held: Option<Box<dyn Write>>,
}

impl Queues {
    /// Waits for operations, and takes as many as one transaction holds; none once nobody is left to queue any.
    async fn take(&mut self) -> Option<Vec<Box<dyn Write>>> {
        let Self { first, others, held } = self;
        let mut group = Group::default();
        let is_waited_for = match held.take() {
            Some(held) => {
                group.push(held);
                false
            }
            None => tokio::select! {
                biased;
                Some(write) = first.recv() => {
                    group.push(write);
                    true
                }
                // Nobody is left to queue any, but one may just have.
                write = others.recv() => {
                    write.into_iter().for_each(|write| group.push(write));
                    false
                }
            },
        };
        while group.rows < MAX_GROUP_ROWS
            && let Ok(write) = first.try_recv()
        {
            group.push(write);
        }
        let most = if is_waited_for { group.rows + FEW_ROWS } else { MAX_GROUP_ROWS };
        while group.rows < most
            && let Ok(write) = others.try_recv()
        {
            if group.rows + write.rows() > most {
                *held = Some(write);
                break;
            }
            group.push(write);
        }
        Some(group.writes).filter(|writes| !writes.is_empty())
    }
}

/// The operations of a transaction.
#[derive(Default)]
struct Group {
    writes: Vec<Box<dyn Write>>,
    rows: usize,
}

impl Group {
    fn push(&mut self, write: Box<dyn Write>) {
        self.rows += write.rows();
        self.writes.push(write);
    }
}

async fn run(
    mut connection: AnyConnection,
    mut queues: Queues,
    failed: watch::Sender<Option<String>>,
    commits: Arc<Commits>,
    clock: SharedClock,
) {
    while let Some(mut group) = queues.take().await {
        commits.times().began = Some(clock.instant());
        let committed = commit(&mut connection, &mut group, &commits.files).await;
        *commits.times() = Times { began: None, done: Some(clock.instant()) };
        let Err(failure) = committed else {
            group.into_iter().for_each(Write::acknowledge);
            continue;
        };
        let reason = format!("writing failed: {}; restart the service once the cause is gone", failure.error);
        tracing::error!(error = %failure.error, "the store stops acknowledging");
        failed.send_replace(Some(reason.clone()));
        for write in group {
            write.refuse(match failure.in_doubt {
                true => StoreError::InDoubt(reason.clone()),
                false => StoreError::Unavailable(reason.clone()),
            });
        }
        while let Some(group) = queues.take().await {
            group.into_iter().for_each(|write| write.refuse(StoreError::Unavailable(reason.clone())));
        }
        return;
    }
}

/// A transaction that failed.
struct Failure {
    error: String,
    /// Whether it may have reached the disk all the same.
    in_doubt: bool,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self { error: error.to_string(), in_doubt: false }
    }
}

async fn commit(
    connection: &mut AnyConnection,
    group: &mut [Box<dyn Write>],
    files: &OpenFiles,
) -> Result<(), Failure> {
    while let Err(error) = sqlx::query("BEGIN IMMEDIATE").execute(&mut *connection).await {
        if !is_busy(&error) {
            return Err(error.into());
        }
        // Nothing is lost yet, and each try waits for the busy timeout by itself.
        tracing::warn!("another program holds the database's write lock");
    }
    for write in group {
        write.apply(connection).await?;
    }
    let committed = sqlx::query("COMMIT").execute(&mut *connection).await;
    committed.map_err(|error| Failure { error: error.to_string(), in_doubt: true })?;
    // What is written into a file that has no name any more is gone with the process: it must not be acknowledged.
    files.check().map_err(|error| Failure { error, in_doubt: true })
}

/// SQLITE_BUSY in its primary and extended forms: the low byte is 5.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

fn held_up() -> StoreError {
    let reason = format!(
        "a write takes longer than {COMMIT_TIME:?}: another program has the database's lock, or the disk is slow"
    );
    StoreError::Unavailable(reason)
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the store has stopped".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Rows(usize);

    #[async_trait]
    impl Operation for Rows {
        type Output = ();

        async fn apply(&self, _connection: &mut AnyConnection) -> Result<(), Fault> {
            Ok(())
        }

        fn rows(&self) -> usize {
            self.0
        }
    }

    fn queued(rows: usize) -> Box<dyn Write> {
        Box::new(Queued { operation: Rows(rows), outcome: None, reply: oneshot::channel().0 })
    }

    #[tokio::test]
    async fn what_is_waited_for_takes_few_along_and_nothing_is_left_out_twice() {
        let ((first, waited_for), (queue, others)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let mut queues = Queues { first: waited_for, others, held: None };
        let mut take = async || {
            let group = queues.take().await.unwrap_or_default();
            group.iter().map(|write| write.rows()).collect::<Vec<_>>()
        };
        [60, 300, 50, 60, 700].into_iter().for_each(|rows| queue.send(queued(rows)).ok().unwrap());
        [5, 6].into_iter().for_each(|rows| first.send(queued(rows)).ok().unwrap());
        assert_eq!(take().await, [5, 6, 60]);
        first.send(queued(7)).ok().unwrap();
        assert_eq!(take().await, [300, 7, 50]);
        assert_eq!(take().await, [60]);
        assert_eq!(take().await, [700]);
        drop((first, queue));
        assert_eq!(take().await, [0; 0]);
    }
}
