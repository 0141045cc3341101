//! States that belong together.

/// States that lead to each other: the machine itself, a branch of Parallel, the iterations of a Map.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) start_at: String,
    /// Its own states' names in the order of the text.
    pub(crate) order: Vec<String>,
}
