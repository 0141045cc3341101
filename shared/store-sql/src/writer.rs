//! The one writer: queued operations, one transaction, then the acknowledgements.
//!
//! What operators ask for goes first, as it stops or holds executions. Then comes the work of executions that run, then
//! starts: each start brings work of its own, so that starts that went first would keep what runs from ending. Each
//! transaction takes a few starts along, so they always go on; the tenants take turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use clock::{Instant, SharedClock};
use sqlx::AnyConnection;
use store::{StoreError, Turns};
use tokio::sync::{mpsc, oneshot, watch};

use crate::files::OpenFiles;
use crate::rows::is_unreadable;
use crate::{FailureWatch, unavailable};

/// Rows that one transaction writes, starts apart, unless its first operation alone writes more: bounds how long that one
/// waits for the last, and the next for all.
const MAX_GROUP_ROWS: usize = 400;

/// As many rows of the engine's go with what operators wait for, so that they are seldom left out.
const FEW_ROWS: usize = 100;

/// Rows of the engine's that go with starts, and rows of starts, about five of them. A start brings work of about four times
/// as many rows until its execution has ended, so that work does not pile up by starts.
const ROWS_WITH_STARTS: usize = 200;
const START_ROWS: usize = 40;

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

impl Fault {
    /// What it means where nothing was to be written.
    pub(crate) fn of_a_read(self) -> StoreError {
        match self {
            Self::Database(error) => unavailable(error),
            Self::Inconsistent(what) => StoreError::Inconsistent(what),
        }
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
    /// What operators wait for goes before what the engine has to note, of which there may be much.
    first: mpsc::UnboundedSender<Box<dyn Write>>,
    starts: mpsc::UnboundedSender<Start>,
    failure: FailureWatch,
    commits: Arc<Commits>,
    clock: SharedClock,
}

impl Writer {
    pub(crate) fn spawn(connection: AnyConnection, files: OpenFiles, clock: SharedClock) -> Self {
        let (queue, operations) = mpsc::unbounded_channel();
        let (first, first_operations) = mpsc::unbounded_channel();
        let (starts, new_starts) = mpsc::unbounded_channel();
        let (failed, failure) = watch::channel(None);
        let commits = Arc::new(Commits { files, times: Mutex::default() });
        let queues = Queues::new(first_operations, operations, new_starts);
        tokio::spawn(run(connection, queues, failed, Arc::clone(&commits), Arc::clone(&clock)));
        Self { queue, first, starts, failure, commits, clock }
    }

    pub(crate) fn failure(&self) -> FailureWatch {
        self.failure.clone()
    }

    /// Queues the operation and waits until it is durable.
    pub(crate) async fn write<O: Operation>(&self, operation: O) -> Result<O::Output, StoreError> {
        let (write, answer) = queued(operation);
        answered(self.queue.send(write).is_ok(), answer).await
    }

    /// The same, before what is queued like that.
    pub(crate) async fn write_first<O: Operation>(&self, operation: O) -> Result<O::Output, StoreError> {
        let (write, answer) = queued(operation);
        answered(self.first.send(write).is_ok(), answer).await
    }

    /// The same, for the start of an execution: behind the others, when it is this tenant's turn.
    pub(crate) async fn write_start<O: Operation>(
        &self,
        tenant_id: &str,
        operation: O,
    ) -> Result<O::Output, StoreError> {
        let (write, answer) = queued(operation);
        answered(self.starts.send(Start { tenant_id: tenant_id.to_owned(), write }).is_ok(), answer).await
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

type Answer<O> = Result<<O as Operation>::Output, StoreError>;

/// An operation that can be queued, and where its outcome comes.
fn queued<O: Operation>(operation: O) -> (Box<dyn Write>, oneshot::Receiver<Answer<O>>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Queued { operation, outcome: None, reply }), answer)
}

async fn answered<T>(is_queued: bool, answer: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    if !is_queued {
        return Err(stopped());
    }
    answer.await.map_err(|_| StoreError::InDoubt("the writer has stopped".to_owned()))?
}

/// The start of an execution.
struct Start {
    tenant_id: String,
    write: Box<dyn Write>,
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
    new_starts: mpsc::UnboundedReceiver<Start>,
    starts: Turns<Box<dyn Write>>,
}

impl Queues {
    fn new(
        first: mpsc::UnboundedReceiver<Box<dyn Write>>,
        others: mpsc::UnboundedReceiver<Box<dyn Write>>,
        new_starts: mpsc::UnboundedReceiver<Start>,
    ) -> Self {
        Self { first, others, held: None, new_starts, starts: Turns::default() }
    }

    /// Waits for operations, and takes as many as one transaction holds; none once nobody is left to queue any.
    async fn take(&mut self) -> Option<Vec<Box<dyn Write>>> {
        let mut group = Group::default();
        let is_waited_for = self.take_first(&mut group).await;
        while let Ok(Start { tenant_id, write }) = self.new_starts.try_recv() {
            self.starts.push(&tenant_id, write);
        }
        self.take_others(&mut group, is_waited_for);
        self.take_starts(&mut group);
        Some(group.writes).filter(|writes| !writes.is_empty())
    }

    /// Waits until there is something, and takes what operators wait for; whether there is any of that.
    async fn take_first(&mut self, group: &mut Group) -> bool {
        let Self { first, others, held, new_starts, starts } = self;
        let mut is_waited_for = false;
        if let Some(held) = held.take() {
            group.push(held);
        } else if starts.is_empty() {
            tokio::select! {
                biased;
                Some(write) = first.recv() => {
                    group.push(write);
                    is_waited_for = true;
                }
                Some(Start { tenant_id, write }) = new_starts.recv() => starts.push(&tenant_id, write),
                // Nobody is left to queue any, but one may just have.
                write = others.recv() => write.into_iter().for_each(|write| group.push(write)),
            }
        }
        // What has waited already may fill the transaction.
        let has_work = !group.writes.is_empty() && !is_waited_for;
        while group.rows < MAX_GROUP_ROWS
            && let Ok(write) = first.try_recv()
        {
            group.push(write);
            is_waited_for = !has_work;
        }
        is_waited_for
    }

    /// Takes the work of executions that run; less of it where somebody waits.
    fn take_others(&mut self, group: &mut Group, is_waited_for: bool) {
        let most = match (is_waited_for, self.starts.is_empty()) {
            (true, _) => group.rows + FEW_ROWS,
            (false, false) => ROWS_WITH_STARTS,
            (false, true) => MAX_GROUP_ROWS,
        };
        while group.rows < most
            && let Ok(write) = self.others.try_recv()
        {
            if group.rows > 0 && group.rows + write.rows() > most {
                self.held = Some(write);
                break;
            }
            group.push(write);
        }
    }

    /// Takes starts: few, so that what runs does not wait long for the next transaction.
    fn take_starts(&mut self, group: &mut Group) {
        let most = group.rows + START_ROWS;
        while group.rows < most
            && let Some(write) = self.starts.pop()
        {
            group.push(write);
        }
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
        let committed = commit_sound(&mut connection, &mut group, &commits.files).await;
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
    /// The operation that met something stored that is damaged, if it was that: nothing is written, and the others can be
    /// tried again.
    own_of: Option<usize>,
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self { error: error.to_string(), in_doubt: false, own_of: None }
    }
}

/// Commits the operations that find what is stored sound, and refuses the others: that is none of their neighbours' business.
async fn commit_sound(
    connection: &mut AnyConnection,
    group: &mut Vec<Box<dyn Write>>,
    files: &OpenFiles,
) -> Result<(), Failure> {
    loop {
        match commit(connection, group, files).await {
            Err(Failure { own_of: Some(number), error, .. }) => {
                group.remove(number).refuse(StoreError::Inconsistent(error));
                if group.is_empty() {
                    return Ok(());
                }
            }
            committed => return committed,
        }
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
    for (number, write) in group.iter_mut().enumerate() {
        if let Err(error) = write.apply(connection).await {
            if is_unreadable(&error) || is_contradiction(&error) {
                sqlx::query("ROLLBACK").execute(&mut *connection).await?;
                return Err(Failure { own_of: Some(number), ..error.into() });
            }
            return Err(error.into());
        }
    }
    let committed = sqlx::query("COMMIT").execute(&mut *connection).await;
    committed.map_err(|error| Failure { in_doubt: true, ..error.into() })?;
    // What is written into a file that has no name any more is gone with the process: it must not be acknowledged.
    files.check().map_err(|error| Failure { error, in_doubt: true, own_of: None })
}

/// SQLITE_BUSY.
fn is_busy(error: &sqlx::Error) -> bool {
    is_of(error, 5)
}

/// SQLITE_CONSTRAINT: what is stored contradicts what is written. Each operation looks before it writes, so what it looked
/// at is damaged.
fn is_contradiction(error: &sqlx::Error) -> bool {
    is_of(error, 19)
}

/// Whether SQLite says this, in its primary form or an extended one: the low byte is the same.
fn is_of(error: &sqlx::Error, primary: u32) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == primary)
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
        super::queued(Rows(rows)).0
    }

    /// Queues, and the ways into them: what operators wait for, what runs, starts.
    struct Waiting {
        first: mpsc::UnboundedSender<Box<dyn Write>>,
        others: mpsc::UnboundedSender<Box<dyn Write>>,
        starts: mpsc::UnboundedSender<Start>,
    }

    fn queues() -> (Waiting, Queues) {
        let ((first, waited_for), (others, work)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (starts, new_starts) = mpsc::unbounded_channel();
        (Waiting { first, others, starts }, Queues::new(waited_for, work, new_starts))
    }

    impl Waiting {
        fn first(&self, rows: usize) {
            self.first.send(queued(rows)).ok().unwrap();
        }

        fn work(&self, rows: impl IntoIterator<Item = usize>) {
            rows.into_iter().for_each(|rows| self.others.send(queued(rows)).ok().unwrap());
        }

        fn start(&self, tenant_id: &str, rows: usize) {
            self.starts.send(Start { tenant_id: tenant_id.to_owned(), write: queued(rows) }).ok().unwrap();
        }
    }

    /// The rows of each operation of the next transaction.
    async fn take(queues: &mut Queues) -> Vec<usize> {
        let group = queues.take().await.unwrap_or_default();
        group.iter().map(|write| write.rows()).collect()
    }

    #[tokio::test]
    async fn what_is_waited_for_takes_few_along_and_nothing_is_left_out_twice() {
        let (waiting, mut queues) = queues();
        waiting.work([60, 300, 50, 60, 700]);
        [5, 6].into_iter().for_each(|rows| waiting.first(rows));
        assert_eq!(take(&mut queues).await, [5, 6, 60]);
        waiting.first(7);
        assert_eq!(take(&mut queues).await, [300, 7, 50]);
        assert_eq!(take(&mut queues).await, [60]);
        assert_eq!(take(&mut queues).await, [700]);
        drop(waiting);
        assert_eq!(take(&mut queues).await, [0; 0]);
    }

    #[tokio::test]
    async fn what_runs_goes_before_starts_and_takes_few_of_them_along() {
        let (waiting, mut queues) = queues();
        for _ in 0..5 {
            waiting.start("a", 31);
        }
        waiting.work([250, 100, 100]);
        assert_eq!(take(&mut queues).await, [250, 31, 31], "what runs is first, however much it is");
        waiting.first(5);
        assert_eq!(take(&mut queues).await, [5, 100, 31, 31], "starts do not wait for ever");
        waiting.work([90, 50]);
        assert_eq!(take(&mut queues).await, [100, 90, 31], "what is too much waits once");
        waiting.start("a", 31);
        drop(waiting);
        assert_eq!(take(&mut queues).await, [50, 31], "one that has just come is written");
        assert_eq!(take(&mut queues).await, [0; 0]);
    }

    #[tokio::test]
    async fn starts_are_few_even_where_nothing_runs_and_tenants_take_turns() {
        let (waiting, mut queues) = queues();
        for _ in 0..100 {
            waiting.start("many", 8);
        }
        waiting.start("one", 9);
        assert_eq!(take(&mut queues).await, [8, 9, 8, 8, 8]);
        assert_eq!(take(&mut queues).await, [8; 5]);
        waiting.start("another", 7);
        assert_eq!(take(&mut queues).await, [8, 7, 8, 8, 8, 8]);
    }
}
