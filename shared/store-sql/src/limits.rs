//! Whether one more execution may be open.

use contracts::Status;
use sqlx::{AssertSqlSafe, Executor};
use store::{Full, OpenCounts, OpenLimits, StoreError};

use crate::rows;
use crate::writer::Fault;

/// Whether a start of this tenant is refused. Both counts are kept with the writes that they count, so that they are exact
/// within the transaction of a start, and as cheap with a million executions as with one.
pub(crate) async fn refuse<'e>(
    executor: impl Executor<'e, Database = sqlx::Any>,
    limits: OpenLimits,
    tenant_id: &str,
) -> Result<Option<Full>, Fault> {
    if limits == OpenLimits::NONE {
        return Ok(None);
    }
    let open = Status::ALL.into_iter().filter(|status| status.is_open());
    let open: Vec<String> = open.map(|status| format!("'{}'", status.as_str())).collect();
    let select = format!(
        "SELECT (SELECT COALESCE(SUM(executions), 0) FROM totals \
         WHERE tenant_id = $1 AND status IN ({}) AND executions > 0) AS of_tenant, \
         (SELECT CASE WHEN executions > 0 THEN executions ELSE 0 END FROM open_executions) AS in_all",
        open.join(", ")
    );
    let row = sqlx::query(AssertSqlSafe(select)).bind(tenant_id).fetch_one(executor).await?;
    let count = |column| rows::count(&row, column).map_err(|error: StoreError| Fault::Inconsistent(error.to_string()));
    Ok(limits.refuse(OpenCounts { of_tenant: count("of_tenant")?, in_all: count("in_all")? }))
}
