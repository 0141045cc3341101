//! Which workflows: the filters of `list` and of `--all`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clock::{Clock as _, SystemClock, Timestamp};
use contracts::Status;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, SpanRelativeTo};
use serde_json::{Value, json};

/// Filters; without any, all workflows of the tenant.
#[derive(Debug, Default, Args)]
pub(crate) struct Filters {
    /// Of one of these statuses (several, or separated by commas).
    #[arg(long, value_delimiter = ',', ignore_case = true, value_parser = statuses())]
    pub(crate) status: Vec<Status>,
    /// Of this kind, e.g. user_onboarding.
    #[arg(long = "type", value_name = "TYPE")]
    workflow_type: Option<String>,
    /// Started by this user.
    #[arg(long)]
    user_id: Option<String>,
    /// Started after then: 2026-11-23T18:29:24Z, 2026-11-23 (UTC), or how long ago, e.g. 90m, 2h, 3d.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    started_after: Option<Timestamp>,
    /// Started before then.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    started_before: Option<Timestamp>,
}

impl Filters {
    /// Whether none is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.query().is_empty()
    }

    /// As parameters of a list.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = Vec::new();
        let names: Vec<&str> = self.status.iter().map(|status| status.as_str()).collect();
        if !names.is_empty() {
            query.push(("status", names.join(",")));
        }
        // Starts are named with hyphens, kinds with underscores.
        query.extend(self.workflow_type.as_ref().map(|kind| ("workflow_type", kind.replace('-', "_"))));
        query.extend(self.user_id.as_ref().map(|user| ("user_id", user.clone())));
        query.extend(self.started_after.map(|time| ("started_after", time.to_string())));
        query.extend(self.started_before.map(|time| ("started_before", time.to_string())));
        query
    }

    /// As the filter of an action.
    pub(crate) fn json(&self) -> Value {
        let mut filter: serde_json::Map<String, Value> =
            self.query().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        if !self.status.is_empty() {
            filter.insert("status".to_owned(), json!(self.status));
        }
        Value::Object(filter)
    }
}

/// What is pending is reported as running, so nobody asks for it.
fn statuses() -> impl clap::builder::TypedValueParser<Value = Status> {
    let reported = Status::ALL.into_iter().filter(|status| *status != Status::Pending);
    PossibleValuesParser::new(reported.map(Status::as_str)).try_map(|name| {
        Status::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(&name)).ok_or("no such status")
    })
}

/// A time, a day, or how long ago.
fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    if let Ok(day) = text.parse::<Date>() {
        return TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)).map_err(|error| error.to_string());
    }
    let ago = text.parse::<Span>().ok().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let ago = ago.filter(|ago| *ago >= SignedDuration::ZERO);
    let time = ago.and_then(|ago| SystemClock.now().checked_sub(ago).ok());
    time.ok_or_else(|| "expected a time like 2026-11-23T18:29:24Z, a day, or how long ago like 2h or 3d".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_three_forms() {
        assert_eq!(moment("2026-11-23T18:29:24Z").unwrap().to_string(), "2026-11-23T18:29:24Z");
        assert_eq!(moment("2026-11-23").unwrap().to_string(), "2026-11-23T00:00:00Z");
        let then = moment("2d").unwrap();
        let two_days = SystemClock.now().duration_since(then);
        assert!((172_800..172_810).contains(&two_days.as_secs()), "{two_days}");
        for bad in ["", "yesterday", "2026-13-01", "-2h", "99999999999d"] {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn filters_are_parameters_and_a_document() {
        let mut filters = Filters::default();
        assert!(filters.is_empty());
        filters.status = vec![Status::Running, Status::Paused];
        filters.workflow_type = Some("user-onboarding".to_owned());
        let query = [("status", "Running,Paused".to_owned()), ("workflow_type", "user_onboarding".to_owned())];
        assert_eq!(filters.query(), query);
        assert_eq!(filters.json(), json!({ "status": ["Running", "Paused"], "workflow_type": "user_onboarding" }));
    }
}
