//! Temporal worker
