//! What the process's open files are for.

use rustix::process::{Resource, getrlimit};
use settings::Settings;

/// Files of the server itself: the database with its readers, the log, what it listens on.
const OF_SERVER: usize = 40;
/// The same for the services of a trial.
const OF_SERVICES: usize = 32;
/// Fewer connections are of no use.
const FEWEST_CONNECTIONS: usize = 8;
/// Fewer calls at once are of no use.
const FEWEST_CALLS: usize = 4;
/// Connections to a service that are kept for the next call, at most.
const MOST_KEPT_PER_SERVICE: usize = 32;
/// How many services there are.
const SERVICES: usize = downstream::Service::ALL.len();

/// How many open files there are for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allotment {
    /// Connections of the API's clients.
    pub connections: usize,
    /// Activities at once; each has one connection to a service.
    pub activities: usize,
    /// Connections that are kept for further calls, for each service.
    pub kept_per_service: usize,
    /// Connections to the services of a trial, all of them together.
    pub to_services: usize,
}

impl Allotment {
    /// For a server, which serves the services as well if it is a trial.
    pub fn new(settings: &Settings, is_trial: bool) -> Self {
        let limit = getrlimit(Resource::Nofile).current.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        Self::of(limit, settings.max_connections, settings.max_concurrent_activities, is_trial)
    }

    /// Calls get what they can use, but no more than half of what there is. Each call to a service of a trial opens a file
    /// at its other end too.
    fn of(limit: Option<usize>, connections: usize, activities: usize, is_trial: bool) -> Self {
        let own = OF_SERVER + if is_trial { OF_SERVICES } else { 0 };
        let free = limit.map_or(usize::MAX, |limit| limit.saturating_sub(own));
        let ends = if is_trial { 2 } else { 1 };
        let wanted = activities.saturating_add(SERVICES * MOST_KEPT_PER_SERVICE);
        let calls = wanted.min(free / 2 / ends).max(FEWEST_CALLS);
        let activities = activities.min((calls / 2).max(FEWEST_CALLS));
        let kept_per_service = (calls.saturating_sub(activities) / SERVICES).min(MOST_KEPT_PER_SERVICE);
        let for_clients = free.saturating_sub(calls * ends).max(FEWEST_CONNECTIONS);
        Self {
            connections: connections.min(for_clients),
            activities,
            kept_per_service,
            // They are used by their own callers and by whoever looks into them.
            to_services: calls + FEWEST_CONNECTIONS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_and_calls_share_the_files() {
        let of = |limit, is_trial| Allotment::of(limit, 1_000, 100, is_trial);
        let all = Allotment { connections: 1_000, activities: 100, kept_per_service: 32, to_services: 268 };
        assert_eq!(of(None, false), all);
        assert_eq!(of(Some(65_536), true), all);
        let some = Allotment { connections: 724, ..all };
        assert_eq!(of(Some(1_024), false), some);
        let few = Allotment { connections: 44, activities: 22, kept_per_service: 4, to_services: 52 };
        assert_eq!(of(Some(128), false), few);
        let fewest = Allotment { connections: 28, activities: 7, kept_per_service: 1, to_services: 22 };
        assert_eq!(of(Some(128), true), fewest);
        assert_eq!(Allotment::of(None, 50, 3, false).connections, 50, "as set");
        assert_eq!(Allotment::of(None, 50, 3, false).activities, 3, "as set");
        let hardly_any = of(Some(16), true);
        assert_eq!((hardly_any.connections, hardly_any.activities), (8, 4), "it tries");
    }
}
