//! Who may call.

use contracts::access::Access;

use crate::declarations::{ALLOW_OPEN, AUTH_MODE, ROLES_CLAIM, TENANTS_CLAIM};
use crate::host::Host;
use crate::keys::Keys;

/// Of a server. Without `[auth]`, an address that only this machine reaches is open, and any other answers 401.
pub(crate) fn of_server(keys: &mut Keys, host: &Host) -> Access {
    let mode = keys.take(&AUTH_MODE);
    let allow_open = keys.value(&ALLOW_OPEN);
    let is_open = host.is_loopback() || allow_open;
    let problem = match mode.as_deref() {
        None | Some("off") if is_open => return Access::Open,
        None => {
            return Access::Closed(
                "This server listens on an address that others can reach and does not authenticate. \
                 For a trial set auth.allow_open = true (WORKFLOW__AUTH__ALLOW_OPEN=true)."
                    .to_owned(),
            );
        }
        Some("off") => format!("'off' needs a loopback address or auth.allow_open = true, not {host}"),
        Some("jwt") => "'jwt' is not available yet".to_owned(),
        Some("gateway") => "'gateway' is for functions behind an API gateway".to_owned(),
        Some(other) => format!("'{other}' is none of off, jwt, gateway"),
    };
    refused(keys, &problem)
}

/// Of a function. Everybody only where the stage is `local`, which the template's parameter does not allow.
pub(crate) fn of_function(keys: &mut Keys, stage: Option<&str>) -> Access {
    match keys.required(&AUTH_MODE).as_str() {
        "gateway" => {
            Access::Gateway { tenants_claim: keys.required(&TENANTS_CLAIM), roles_claim: keys.required(&ROLES_CLAIM) }
        }
        "off" if stage == Some("local") => Access::Open,
        "" => closed(),
        "off" => refused(keys, "'off' is for STAGE=local only"),
        other => refused(keys, &format!("expected 'gateway', got '{other}'")),
    }
}

fn refused(keys: &mut Keys, problem: &str) -> Access {
    keys.refuse(AUTH_MODE.path, problem);
    closed()
}

/// In place of what is not known: the settings are refused anyhow.
fn closed() -> Access {
    Access::Closed(String::new())
}
