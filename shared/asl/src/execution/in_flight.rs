//! How much an execution has under way at the same time.

/// Attempts of one execution that are under way at the same time at most, and the bytes of their payloads: what runs an
/// execution must be able to take note of them at once.
pub(super) const MAX_IN_FLIGHT: usize = 500;
pub(super) const MAX_BYTES_IN_FLIGHT: usize = 2 * 1024 * 1024;

/// Attempts under way, and the bytes of their payloads.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct InFlight {
    pub(crate) attempts: usize,
    pub(crate) bytes: usize,
}

impl InFlight {
    /// Whether there is room for more.
    pub(crate) fn is_little(self) -> bool {
        self.attempts < MAX_IN_FLIGHT && self.bytes < MAX_BYTES_IN_FLIGHT
    }
}

impl std::iter::Sum for InFlight {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            attempts: sum.attempts + one.attempts,
            bytes: sum.bytes + one.bytes,
        })
    }
}
