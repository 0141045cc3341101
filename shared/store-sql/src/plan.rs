//! How SQLite goes about a statement, for tests: what grows with a tenant's rows shows here, and not in a small test's time.

use std::sync::Arc;

use clock::SystemClock;
use sqlx::AssertSqlSafe;

use crate::{Durability, SqlStore, rows};

/// The steps of a statement's plan, on the schema as it is now.
pub(crate) async fn plan(statement: &str) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("plan.db");
    let store = SqlStore::open(&file, Durability::Process, Arc::new(SystemClock)).await.expect("it opens");
    let explained = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
    let steps = explained.fetch_all(store.readers.pool()).await.expect("it is a statement");
    steps.iter().map(|step| rows::get(step, "detail").expect("a step says what it does")).collect()
}

/// Checks that a statement reads one range of an index for each of so many parts, in the index's order: no table is read
/// from its beginning to its end, nothing is sorted, and rows are looked at only by their numbers.
pub(crate) async fn assert_reads_ranges(statement: &str, table: &str, range: &str, parts: usize) {
    let steps = plan(statement).await;
    let told = format!("{statement}\n{}", steps.join("\n"));
    assert!(!steps.iter().any(|step| step.contains("TEMP B-TREE")), "nothing is sorted: {told}");
    let scans = [format!("SCAN {table}"), "SCAN h".to_owned(), "SCAN e".to_owned()];
    assert!(
        !steps.iter().any(|step| scans.iter().any(|scan| step == scan || step.starts_with(&format!("{scan} ")))),
        "{told}"
    );
    let ranges = steps.iter().filter(|step| step.starts_with(&format!("SEARCH {table} USING COVERING INDEX {range}")));
    assert_eq!(ranges.count(), parts, "{told}");
}
