//! What a workflow runs: an execution, or the children of a range of a Map run's items.

use asl::{ChildEnd, ChildPath, Children, Command, Event, Execution, MapRunId, Outcome, Told, WantedItem};
use contracts::Timestamp;

use crate::range::{End, MAX_RESULT_BYTES, RangeOutput};

/// One of the two.
pub(crate) enum Machine {
    Execution(Box<Execution>),
    Range(Box<RangeMachine>),
}

/// The children of a range, and what became of them.
pub(crate) struct RangeMachine {
    children: Children,
    map_run: MapRunId,
    output: RangeOutput,
    bytes: usize,
    /// Failures that the parent has not been told of.
    untold: Vec<End>,
}

/// How the workflow ends.
pub(crate) enum Done {
    Execution(Outcome),
    Range(RangeOutput),
}

impl RangeMachine {
    pub(crate) fn new(children: Children, map_run: MapRunId) -> Self {
        Self { children, map_run, output: RangeOutput::default(), bytes: 0, untold: Vec::new() }
    }

    pub(crate) fn map_run(&self) -> MapRunId {
        self.map_run
    }

    /// Failures that the parent has not been told of.
    pub(crate) fn take_untold(&mut self) -> Vec<End> {
        std::mem::take(&mut self.untold)
    }

    /// Takes what the children have to say; those of their own that ended.
    fn settle(&mut self, now: Timestamp) -> Vec<ChildEnd> {
        let mut nested = Vec::new();
        loop {
            while self.children.poll_trace().is_some() {}
            while let Some(end) = self.children.poll_end() {
                match end.path.is_root() {
                    true => self.keep(end.into()),
                    false => nested.push(end),
                }
            }
            if let Some(failure) = self.children.take_failure() {
                self.output.failure.get_or_insert(failure);
            }
            if self.output.failure.is_some() || !self.children.begin_next(now) {
                return nested;
            }
        }
    }

    fn keep(&mut self, end: End) {
        self.bytes += end.result.to_string().len();
        if self.bytes > MAX_RESULT_BYTES {
            let cause = "The results of these children are larger than what the server takes.";
            self.output.failure.get_or_insert(("States.DataLimitExceeded".to_owned(), cause.to_owned()));
            return;
        }
        if end.has_failed {
            self.untold.push(end.clone());
        }
        self.output.ends.push(end);
    }
}

impl Machine {
    pub(crate) fn poll_command(&mut self) -> Option<(ChildPath, Command)> {
        match self {
            Self::Execution(execution) => Some((ChildPath::default(), execution.poll_command()?)),
            Self::Range(range) => range.children.poll_command(),
        }
    }

    /// Lets it go on as far as it can by itself; children of children that ended.
    pub(crate) fn settle(&mut self, now: Timestamp) -> Vec<ChildEnd> {
        match self {
            Self::Execution(execution) => {
                while execution.poll_trace().is_some() {}
                Vec::new()
            }
            Self::Range(range) => range.settle(now),
        }
    }

    /// Why it cannot go on: an expression took longer than the worker waits for.
    pub(crate) fn stalled(&self) -> Option<&str> {
        match self {
            Self::Execution(execution) => execution.stalled(),
            Self::Range(range) => range.children.stalled(),
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        match self {
            Self::Execution(execution) => execution.poll_timeout(),
            Self::Range(range) => range.children.poll_timeout(),
        }
    }

    pub(crate) fn wanted_item(&self) -> Option<WantedItem> {
        match self {
            // Its children are those of ranges.
            Self::Execution(_) => None,
            Self::Range(range) => range.children.wanted_item(),
        }
    }

    pub(crate) fn tell(&mut self, path: &ChildPath, told: Told, now: Timestamp) {
        match (self, told) {
            (Self::Execution(execution), Told::Event(event)) => execution.handle_event(event, now),
            (Self::Execution(execution), Told::End { map_run, index, has_failed, result }) => {
                execution.handle_event(Event::ChildEnded { map_run, index, has_failed, result }, now);
            }
            (Self::Execution(execution), Told::Timer) => execution.handle_timeout(now),
            (Self::Execution(execution), Told::Hasten { error }) => execution.hasten_retries(&error, now),
            (Self::Execution(_), Told::Item { .. }) => {}
            // Of the run itself: its items cannot be read.
            (Self::Range(range), Told::Event(Event::MapRunFailed { map_run, error, cause }))
                if path.is_root() && map_run == range.map_run =>
            {
                range.output.failure.get_or_insert((error, cause));
            }
            (Self::Range(range), told) => range.children.tell(path, told, now),
        }
    }

    pub(crate) fn done(&mut self) -> Option<Done> {
        match self {
            Self::Execution(execution) => execution.outcome().cloned().map(Done::Execution),
            Self::Range(range) => {
                let is_done = range.output.failure.is_some() || range.children.are_over();
                is_done.then(|| Done::Range(std::mem::take(&mut range.output)))
            }
        }
    }
}
