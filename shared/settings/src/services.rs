//! Where the services are.

use downstream::Endpoints;

use crate::declarations::SERVICES;
use crate::keys::Keys;

/// The endpoints of these base URLs, in the order of [`downstream::Service::ALL`]. A URL that is not to be used is
/// reported; an empty one is reported by who read it.
pub(crate) fn endpoints(keys: &mut Keys, urls: &[String; 5]) -> Endpoints {
    Endpoints::new(urls.each_ref().map(String::as_str)).unwrap_or_else(|bad| {
        for (service, problem) in bad {
            let index = service as usize;
            if !urls[index].is_empty() {
                keys.refuse(SERVICES[index].path, &problem.to_string());
            }
        }
        Endpoints::default()
    })
}
